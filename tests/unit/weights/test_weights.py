"""Small weights in the official formats, found where the libraries keep them; no code in a file is
ever run."""

import copy
import io
import json
import os
import pickle
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch
from official import gpt2_folder

from captioning.core import settings
from captioning.core.errors import UserError
from captioning.data.needed import needed, require
from captioning.features.initial import initial_clip, initial_vgg16
from captioning.weights import sources
from captioning.weights.state_dict import read_state_dict
from captioning.weights.torchscript import is_archive, read_tensors
from models import clip, clip_weights, vgg16

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind}")
    for kind in ("DeprecationWarning", "torch.jit.TracerWarning")
]

ROOT = Path(__file__).parents[3]
VALUES = settings.read_yaml(ROOT / "params.yaml")
VIT = clip.CLIPConfig(32, 64, 2, 64, 32, 12, 100, 64, 2)
RESNET = clip.CLIPConfig(32, 64, (1, 1, 1, 1), 16, None, 12, 100, 64, 2)


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch) -> Path:
    """Empty caches, the only ones in use."""
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / ".cache/huggingface/hub"))
    return tmp_path / ".cache"


def chosen(**groups) -> settings.Settings:
    values = copy.deepcopy(VALUES)
    for name, changes in groups.items():
        values[name] |= changes
    return settings.check(values, "params.yaml")


def official_clip(path: Path, config: clip.CLIPConfig, archive: bool) -> clip.CLIP:
    """A CLIP in half precision, as a TorchScript archive like OpenAI's or as a plain state dict."""
    torch.manual_seed(0)
    model = clip.build(config).eval()
    model.load_state_dict(
        {n: t.half().float() if t.is_floating_point() else t for n, t in model.state_dict().items()}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    if not archive:
        torch.save({n: t.half() if t.is_floating_point() else t for n, t in model.state_dict().items()}, path)
        return model
    traced_from = copy.deepcopy(model)
    for name, number in (("input_resolution", 64), ("context_length", 12), ("vocab_size", 100)):
        delattr(traced_from, name) if hasattr(traced_from, name) else None
        traced_from.register_buffer(name, torch.tensor(number))
    example = (torch.randn(1, 3, 64, 64), torch.randint(1, 99, (1, 12)))
    torch.jit.trace(traced_from, example).half().save(str(path))
    return model


@pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])
@pytest.mark.parametrize("archive", [True, False], ids=["archive", "state dict"])
@torch.no_grad()
def test_clip_from_either_kind_of_file_equals_clips_own(tmp_path, config, archive):
    import clip as package

    model = official_clip(tmp_path / "clip.pt", config, archive)
    ours, preprocess = initial_clip(chosen(clip={"weights": str(tmp_path / "clip.pt")}).clip)
    assert preprocess.image_size == 64 and clip_weights.config_of(ours.state_dict()) == config
    images, texts = torch.randn(3, 3, 64, 64), torch.randint(1, 99, (4, 12))
    assert torch.equal(ours.eval().encode_image(images), model.encode_image(images))
    assert torch.equal(ours.encode_text(texts), model.encode_text(texts))
    if config is VIT or not archive:
        theirs, _ = package.load(str(tmp_path / "clip.pt"), device="cpu", jit=False)
        torch.testing.assert_close(
            ours.encode_image(images), theirs.float().encode_image(images), rtol=1e-3, atol=1e-4
        )


def test_an_archive_s_tensors_are_those_that_torch_reads(tmp_path):
    official_clip(tmp_path / "clip.pt", VIT, archive=True)
    expected = torch.jit.load(tmp_path / "clip.pt").state_dict()
    found = read_tensors(tmp_path / "clip.pt")
    assert expected.keys() <= found.keys() and found["visual.conv1.weight"].dtype == torch.float16
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def rewritten(path: Path, record: str, content: bytes) -> Path:
    """The archive with one of its records replaced."""
    target = path.with_name("changed.pt")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, content if entry.filename.endswith(record) else old.read(entry))
    return target


class Attack:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_nothing_in_a_file_is_run(tmp_path):
    victim = tmp_path / "victim"
    official_clip(tmp_path / "clip.pt", VIT, archive=True)
    for content in (
        pickle.dumps(Attack(victim), 2),
        b"",
        b"\x80\x02}.",
        b"\x80\x02c__torch__\nX\n)\x81N\x86b.",
    ):
        changed = rewritten(tmp_path / "clip.pt", "/data.pkl", content)
        assert is_archive(changed)
        with pytest.raises(UserError, match="opened safely, or is damaged"):
            read_state_dict(changed)
    with zipfile.ZipFile(tmp_path / "clip.pt") as file:
        record = next(name for name in file.namelist() if name.endswith("/data/0"))
        less = file.read(record)[:-2]
    # A count that points beyond the record.
    with pytest.raises(UserError, match="opened safely, or is damaged"):
        read_state_dict(rewritten(tmp_path / "clip.pt", record, less))
    torch.save({"a": Attack(victim)}, tmp_path / "plain.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Attack(victim), 2))
    for name in ("plain.pt", "bare.pt"):
        with pytest.raises(UserError, match="opened safely, or is damaged"):
            read_state_dict(tmp_path / name)
    assert not victim.exists()


def test_damaged_files_are_said_to_be(tmp_path):
    official_clip(tmp_path / "clip.pt", VIT, archive=True)
    torch.save({"a": torch.ones(1000)}, tmp_path / "a.pt")
    for name in ("clip.pt", "a.pt"):
        whole = (tmp_path / name).read_bytes()
        for part in (b"", whole[:10], whole[: len(whole) // 2]):
            (tmp_path / "part.pt").write_bytes(part)
            with pytest.raises(UserError, match="opened safely, or is damaged"):
                read_state_dict(tmp_path / "part.pt")
    torch.save([torch.ones(1)], tmp_path / "list.pt")
    with pytest.raises(UserError, match="is not a state dict"):
        read_state_dict(tmp_path / "list.pt")
    with pytest.raises(UserError, match="no weights at"):
        read_state_dict(tmp_path / "none.pt")


# ---- where they are found


def test_names_and_addresses_are_the_libraries():
    import clip.clip as package
    from torchvision.models import VGG16_Weights

    assert VGG16_Weights.IMAGENET1K_V1.url == sources.VGG16_URL
    assert {name: sources.clip(name).url for name in package.available_models()} == package._MODELS


def test_vgg16_by_name_comes_from_torch_hubs_cache(caches, monkeypatch):
    network = vgg16.VGG16(vgg16.VGG16Config(64, 0.0625, False, 10)).eval()
    for folder in (caches / "torch", caches.parent / "elsewhere"):
        if folder.name == "elsewhere":
            monkeypatch.setenv("TORCH_HOME", str(folder))
        (folder / "hub/checkpoints").mkdir(parents=True)
        path = folder / "hub/checkpoints/vgg16-397923af.pth"
        # The same as torchvision's file.
        torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False)
        assert Path(torch.hub.get_dir()) / "checkpoints" == path.parent
        ours, preprocess = initial_vgg16(chosen(vgg16={"weights": "imagenet"}).vgg16)
        images = torch.randn(2, 3, 64, 64)
        assert torch.equal(ours.eval().fc7(images), network.fc7(images)) and preprocess.image_size == 64
        path.unlink()


def test_clip_by_name_comes_from_its_cache(caches):
    model = official_clip(caches / "clip/ViT-L-14-336px.pt", VIT, archive=True)
    ours, _ = initial_clip(chosen(clip={"weights": "ViT-L/14@336px"}).clip)
    assert torch.equal(ours.visual.proj, model.visual.proj)
    with pytest.raises(UserError, match="expected one of RN50, RN101"):
        sources.clip("vit-b/32")


@pytest.mark.parametrize("repository", ["openai-community/gpt2", "gpt2"])
def test_gpt2_by_name_comes_from_the_hubs_cache(caches, repository):
    folder = caches / "huggingface/hub" / f"models--{repository.replace('/', '--')}"
    gpt2_folder(folder / "snapshots" / "abc")
    (folder / "refs").mkdir()
    (folder / "refs/main").write_text("abc")
    assert sources.gpt2("gpt2").get() == folder / "snapshots/abc"
    (folder / "snapshots/abc/vocab.json").unlink()
    assert sources.gpt2("gpt2").find() is None


def test_a_folder_or_file_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gpt2_folder(tmp_path / "gpt2")  # a folder with the model's name
    assert sources.gpt2("gpt2").get() == Path("gpt2")
    with pytest.raises(UserError, match=r"vgg16\.weights = a/b\.pt: there is no such file"):
        sources.vgg16("a/b.pt").get()


@pytest.mark.parametrize(
    ("groups", "parts"),
    [
        (
            {"vgg16": {"weights": "imagenet"}},
            ["vgg16-397923af.pth", "/torch/hub/checkpoints", "set vgg16.weights"],
        ),
        ({"clip": {"weights": "RN50"}}, ["RN50.pt", ".cache/clip", "set clip.weights"]),
        ({"model": {"gpt2": "gpt2"}}, ["model.safetensors", ".cache/huggingface/hub", "set model.gpt2"]),
        ({"model": {"init_from": "x.pt"}}, ["model.init_from = x.pt", "no such file"]),
        ({"data": {"source": "flickr8k"}}, ["Flickr8k_text.zip", "downloads/flickr8k", "set data.root"]),
    ],
)
def test_without_a_network_one_sentence_names_file_places_and_setting(tmp_path, monkeypatch, groups, parts):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        require(needed(chosen(**groups)))
    assert time.monotonic() - start < 10
    message = str(caught.value)
    assert "\n" not in message and all(part in message for part in parts), message
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_first_stage_stops_before_any_work(tmp_path):
    values = copy.deepcopy(VALUES)
    values["model"]["gpt2"] = "gpt2-xl"
    (tmp_path / "params.yaml").write_text(json.dumps(values))  # JSON is valid YAML
    elsewhere = ("HF_HOME", "HF_HUB_CACHE")  # places where weights could be found
    environment = {name: value for name, value in os.environ.items() if name not in elsewhere}
    # Packages may be there.
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment |= {"PYTHONPATH": path, "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    for module in ("stages.prepare", "commands.fetch"):
        command = [sys.executable, "-m", module]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 1
        assert done.stderr.startswith("error: model.gpt2 = gpt2-xl") and done.stderr.count("\n") == 1
        assert not (tmp_path / "data").exists()
    assert (
        "missing model.gpt2 = gpt2-xl" in done.stdout
        and "https://huggingface.co/openai-community/gpt2-xl" in done.stdout
    )


def test_what_params_need_is_listed_in_the_order_of_the_stages(tmp_path):
    assert needed(chosen()) == []
    (tmp_path / "own.pt").write_bytes(io.BytesIO(b"x").getvalue())
    wanted = needed(
        chosen(
            data={"source": "flickr8k"}, vgg16={"weights": "imagenet"}, clip={"weights": "ViT-B/32"},
            model={"gpt2": "distilgpt2", "init_from": str(tmp_path / "own.pt")},
        )
    )  # fmt: skip
    assert [one.setting.partition(" =")[0] for one in wanted] == [
        "data.source", "vgg16.weights", "clip.weights", "model.gpt2", "model.init_from",
    ]  # fmt: skip
    assert [bool(one.find()) for one in wanted] == [False, False, False, False, True]
