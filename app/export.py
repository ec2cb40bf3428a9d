"""Writes a captioner as one folder that works without the project it was trained in, and uploads it.

`python -m commands.export` runs this. `app/folder.py` lists the folder's contents.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from torch import Tensor

from app.captioner import Captioner
from app.folder import CAPTIONS, ENCODER, HOW, TABLE, encoder_of, table
from app.origin import DOUBTS, LEARNED, doubts, learned_from
from captioning.core import paths
from captioning.core import settings as schema
from captioning.core.errors import UserError, in_a_line
from captioning.core.files import sha256_of, write_json, write_lines
from captioning.core.paths import CONFIG, WEIGHTS
from captioning.decoders.checkpoint import feature_identity, save_decoder
from captioning.decoders.clipcap import initial_clipcap
from captioning.features.encoders import load_encoder, save_clip
from captioning.features.initial import initial_clip
from captioning.weights.sources import check_online
from captioning.weights.state_dict import read_state_dict

USED = {"clip": "visual."}  # prefixes of the weights that captioning needs, without CLIP's text tower
USE = """
## Use

```python
from captioning.app import load_captioner  # after `pip install .` in the project's folder

captioner = load_captioner("{name}")
for caption in captioner(["a.jpg", "b.jpg"]):
    print(caption.caption, caption.lowest)  # and the probability of its least probable token
```

`python -m captioning.app --model {name} pictures/ --out captions.csv` captions a folder. `{encoder}/` has
the encoder, and its `{config}` the preprocessing of pictures. Weights are in {precision} precision.
"""
SHARED = "`{file}` has the captions of {count:,} training images, which consensus needs.\n"


def export(source: Path, folder: Path, half: bool = False, name: str = "") -> None:
    """Writes a checkpoint's captioner with its encoder and, if consensus is on, its consensus table.

    Args:
        half: store weights in half the space; captions may then differ.
        name: the name for loading it, shown in the card.

    Raises:
        UserError: `folder` exists and is not empty, or the captioner itself cannot be used.
    """
    with new(folder) as written:
        captioner = Captioner(source)
        decoder, how = captioner.decoder, captioner.how
        encoder = encoder_of(source, decoder.kind)
        about = json.loads((encoder / CONFIG).read_text(encoding="utf-8"))
        (written / ENCODER).mkdir(parents=True)
        write_json(written / ENCODER / CONFIG, about)
        copy_weights(encoder, written / ENCODER, half, USED.get(about.get("kind", about.get("network")), ""))
        copy_weights(source, written, half)
        decoder.text.save(written)
        config = json.loads((source / CONFIG).read_text(encoding="utf-8"))
        config["features"]["weights"] = sha256_of(written / ENCODER / WEIGHTS)
        if others := getattr(how.generate.ensemble, decoder.kind):
            print(f"note: only this captioner is exported, without {', '.join(others)} of generate.ensemble")
        alone = how.generate.model_copy(update={"ensemble": schema.EnsembleSettings(lstm=[], clipcap=[])})
        how = how.model_copy(update={"generate": alone})
        origin = {LEARNED: learned_from(source), DOUBTS: doubts(source)}
        write_json(written / CONFIG, config | {HOW: how.model_dump()} | origin)
        images = 0
        if captioner.consensus:
            features, captions = table(source, decoder)
            save_arrays({"features": features}, written / TABLE)
            write_lines(written / CAPTIONS, captions)
            images = len(captions)
        use = USE.format(
            name=name or folder.name, encoder=ENCODER, config=CONFIG, precision="half" if half else "full"
        )
        shared = SHARED.format(file=CAPTIONS, count=images) if images else ""
        (written / "README.md").write_text(card(source, captioner) + use + shared, encoding="utf-8")
        # Safetensors writes files that only their owner can read.
        for weights in written.rglob("*.safetensors"):
            shutil.copymode(written / "README.md", weights)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"wrote {folder}: {size / 1e6:,.1f} MB, the {decoder.kind} captioner with its encoder")


def export_published(
    source: Path, folder: Path, clip: str, gpt2: str, half: bool = False, name: str = ""
) -> None:
    """Like `export`, for a file that ClipCap's authors publish (`captioning.decoders.clipcap`).

    Args:
        clip, gpt2: the networks that it was trained with, written as in clip.weights and model.gpt2.
    """
    values = schema.load().model_dump()
    values["clip"]["weights"] = clip
    values["model"] |= {"init_from": str(source), "gpt2": gpt2}
    values["train_clipcap"]["epochs"] = 0
    settings = schema.check(values, "params.yaml")
    made = {"normalization": "l2" if "clip_project.prefix_const" in read_state_dict(source) else "none"}
    with tempfile.TemporaryDirectory() as temporary:
        checkpoints = Path(temporary) / "checkpoints"
        model, preprocess = initial_clip(settings.clip)
        save_clip(checkpoints / "clip", model, preprocess)
        features = feature_identity(load_encoder(checkpoints / "clip", made).attributes)
        decoder = initial_clipcap(settings, model.text_projection.shape[1], features)
        save_decoder(checkpoints / "clipcap", decoder)
        write_json(checkpoints.parent / "params.yaml", values)  # JSON is valid YAML
        export(checkpoints / "clipcap", folder, half, name)


def copy_weights(source: Path, target: Path, half: bool, used: str = "") -> None:
    """Copies a checkpoint's weights whose names begin with `used`."""
    with safe_open(source / WEIGHTS, "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys() if name.startswith(used)}  # noqa: SIM118
    weights = {name: _half(name, one) if half else one for name, one in weights.items()}
    save_file(weights, target / WEIGHTS, metadata={"format": "pt"})


def _half(name: str, weights: Tensor) -> Tensor:
    halved = weights.half() if weights.is_floating_point() else weights
    if not halved.isfinite().all():
        raise UserError(f"{name} has weights that half precision cannot hold: export without --half")
    return halved


def card(source: Path, captioner: Captioner) -> str:
    """The card of stage `cards` if it describes these weights, else the card beside them."""
    whole = paths.CARDS / f"{captioner.decoder.kind}.md"
    if whole.is_file() and sha256_of(source / WEIGHTS) in (text := whole.read_text(encoding="utf-8")):
        return text
    beside = source / "README.md"
    if beside.is_file():  # an exported folder's already says how to use it
        return beside.read_text(encoding="utf-8").partition(USE[: USE.index("```")])[0]
    return f"# Image captioner: {captioner.decoder.kind}\n"


@contextmanager
def new(folder: Path) -> Iterator[Path]:
    """A folder to write into. It replaces `folder` if the block ends without an error."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} exists already: name another folder, or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        written = Path(temporary) / "new"
        written.mkdir()
        yield written
        written.replace(folder)


def push(folder: Path, repository: str, sure: bool) -> None:
    """Uploads an exported folder to the Hugging Face hub. Asks first if it has captions of training images.

    Raises UserError if the answer is not yes, or if the hub refuses the upload.
    """
    if (folder / CAPTIONS).is_file() and not sure:
        count = len(json.loads((folder / CAPTIONS).read_text(encoding="utf-8")))
        try:
            what = f"{folder / CAPTIONS} has the captions of {count:,} training images"
            answer = input(f"{what}. Upload them? [y/N] ")
        except EOFError:
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            raise UserError(
                f"{folder} stays here: answer y or give --yes, or export it with generate.consensus = 0"
            )
    from huggingface_hub import HfApi

    try:
        check_online()
        api = HfApi()
        api.create_repo(repository, exist_ok=True)
        stale = [TABLE, CAPTIONS]  # files of an earlier upload
        told = api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message="A captioner", delete_patterns=stale
        )
    except Exception as error:  # errors of the hub, of its network library, of the system
        raise UserError(
            f"{folder} cannot be uploaded to {repository}: {in_a_line(error)}; `hf auth login` signs you in"
        ) from None
    print(f"uploaded: {told}")
