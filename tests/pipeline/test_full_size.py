"""VGG16, ViT-B/32 and GPT-2 at full size through every stage, from files in the official formats with random
weights.

This needs about 1.5 GB of weights and takes minutes, so it runs only with FULL_SIZE=1 in the environment,
which .ci/run sets.
"""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from benchmarks.flickr8k_full_size import STAGES, prepare, run, table
from captioning.data.dataset import load_data
from captioning.features.store import FeatureStore

TRACING = ("DeprecationWarning", "torch.jit.TracerWarning")
pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in TRACING]
SHARED = Path(__file__).parents[3] / "shared"
IMAGES, MINUTES, GIGABYTES = 64, 5, 8


def photographs(folder: Path) -> dict:
    """Settings of `data` for 64 photographs if they are at hand, otherwise for 64 scenes."""
    source = SHARED / "flickr8k"
    if not source.is_dir():
        return {"source": "scenes", "scenes": {"images": IMAGES, "size": 224}}
    captions: dict[str, list[str]] = {}
    for line in (source / "Flickr8k_text/Flickr8k.token.txt").read_text(encoding="utf-8").splitlines():
        key, _, caption = line.partition("\t")
        captions.setdefault(key.partition("#")[0], []).append(caption)
    names = [name for name in sorted(captions) if (source / "Flicker8k_Dataset" / name).is_file()][:IMAGES]
    folder.mkdir()
    rows = []
    for position, name in enumerate(names):
        shutil.copy(source / "Flicker8k_Dataset" / name, folder / name)
        split = {8: "dev", 9: "test"}.get(position % 10, "train")
        rows += [{"image": name, "caption": caption, "split": split} for caption in captions[name]]
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"source": "folder", "root": str(folder), "annotations": str(folder / "captions.jsonl")}


@pytest.mark.skipif(
    os.environ.get("FULL_SIZE") != "1", reason="full-size networks take minutes: set FULL_SIZE=1"
)
def test_full_size_networks_from_official_files_to_scores(tmp_path, capfd):
    work, none, once, few = tmp_path / "work", {"epochs": 0}, {"epochs": 1}, {"batch_size": 16}
    changes = {
        "data": photographs(tmp_path / "photographs"),
        "finetune_clip": none, "extract_vgg16": few, "extract_clip": few,
        "train_lstm": once, "train_clipcap": once, "generate": {"beam_size": 5, "max_tokens": 12},
    }  # fmt: skip
    tokenizer = SHARED / "gpt2-tokenizer"
    prepare(work, "flickr8k", changes, tokenizer if tokenizer.is_dir() else None)
    start = time.monotonic()
    measured = [run(work, stage) for stage in STAGES]
    seconds = time.monotonic() - start
    with capfd.disabled():
        print(f"\n{table(measured)}")

    ids = load_data(work / "data").split("test")
    for name, width in (("vgg16", 4096), ("clip", 512)):
        assert FeatureStore.open(work / f"features/{name}.h5").shape == (IMAGES, width)
    for name in ("lstm", "clipcap"):
        captions = json.loads((work / f"captions/{name}.json").read_text())
        assert [entry["image_id"] for entry in captions] == ids
    config = json.loads((work / "checkpoints/clipcap/config.json").read_text())
    assert config["sizes"]["prefix_len"] == 10 and config["dev_loss"] > 0
    assert json.loads((work / "metrics.json").read_text())
    assert max(one["memory"] for one in measured) < GIGABYTES * 1e9
    assert seconds < MINUTES * 60
