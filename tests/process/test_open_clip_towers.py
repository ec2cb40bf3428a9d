"""Towers of open_clip as encoders: pixels and features are that library's, for embeddings and patches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import python_m
from PIL import Image
from processor import needs_bf16
from project_copy import ROOT, change, copy_project
from safetensors.torch import save_file

from app import load_captioner
from app.export import export
from captioning.core import settings as schema
from captioning.core.errors import UserError
from captioning.features.encoders import load_encoder, save_openclip
from captioning.features.images import decode
from captioning.features.store import FeatureStore
from captioning.metrics import clipscore
from captioning.weights import open_clip as named
from captioning.weights import sources

WANTED = "open_clip, an optional library, is not installed (requirements-open-clip.txt)"
open_clip = pytest.importorskip("open_clip", reason=WANTED)

CPU = torch.device("cpu")
TEXT = {"context_length": 8, "vocab_size": 50, "width": 64, "heads": 1, "layers": 1}
VIT = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32}
POOLED = VIT | {"attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True}
TIMM = {"timm_model_pretrained": False, "image_size": 224}
MODELS = {  # configs of small models; each has random weights
    "tiny-vit": {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT, "quick_gelu": True},
    "tiny-coca": {
        "embed_dim": 32, "vision_cfg": POOLED, "text_cfg": TEXT | {"embed_cls": True, "output_tokens": True},
        "multimodal_cfg": TEXT | {"attn_pooler_heads": 1}, "custom_text": True,
    },
    "tiny-resnet": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16}, "text_cfg": TEXT,
    },
    "tiny-siglip": {
        "embed_dim": 192, "text_cfg": TEXT, "custom_text": True,
        "vision_cfg": TIMM
        | {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "map", "timm_proj": "none"},
    },
    "tiny-eva": {
        "embed_dim": 24, "text_cfg": TEXT, "custom_text": True,
        "vision_cfg": TIMM | {"timm_model_name": "eva02_tiny_patch14_224", "timm_pool": "token"},
    },
    "tiny-convnext": {
        "embed_dim": 24,
        "vision_cfg": TIMM | {"timm_model_name": "convnext_atto", "timm_pool": ""}, "text_cfg": TEXT,
    },
}  # fmt: skip
PATCHES = {"tiny-vit": (16, 64), "tiny-coca": (16, 64), "tiny-siglip": (196, 192), "tiny-eva": (256, 192)}
SQUASH = {
    "resize_mode": "squash",
    "interpolation": "bilinear",
    "mean": (0.5, 0.4, 0.3),
    "std": (0.5, 0.6, 0.7),
}


@pytest.fixture(params=MODELS)
def made(request, tmp_path, monkeypatch):
    """A model's name, which the library knows with a tag, and a file of random weights in the hub's cache."""
    return known(request.param, tmp_path, monkeypatch)


def known(name: str, folder: Path, monkeypatch) -> tuple[str, Path]:
    (folder / "configs").mkdir()
    (folder / f"configs/{name}.json").write_text(json.dumps(MODELS[name]))
    monkeypatch.setattr("open_clip.factory._MODEL_CONFIG_PATHS", [])
    monkeypatch.setattr("open_clip.factory._MODEL_CONFIGS", {})
    open_clip.add_model_config(folder / "configs")
    monkeypatch.setitem(
        open_clip.pretrained._PRETRAINED, name, {"squashed": {"hf_hub": f"me/{name}/"} | SQUASH}
    )
    open_clip.pretrained._PRETRAINED[name]["squashed"]["quick_gelu"] = MODELS[name].get("quick_gelu", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    stored = folder / f"models--me--{name}"
    (stored / "snapshots/abc").mkdir(parents=True)
    (stored / "refs").mkdir()
    (stored / "refs/main").write_text("abc")
    torch.manual_seed(0)
    file = stored / "snapshots/abc/open_clip_model.safetensors"
    save_file(open_clip.create_model(name).state_dict(), file)
    return name, file


def read(setting: str):
    from captioning.features.openclip import read_tower

    return read_tower(setting.removeprefix("open_clip:"), sources.clip(setting).get())


def picture(folder: Path, width: int = 60, height: int = 44) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    path = folder / "picture.png"
    Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.mark.parametrize("by", ["file", "tag"])
@torch.inference_mode()
def test_pixels_and_features_are_the_librarys(made, tmp_path, by):
    name, file = made
    pretrained = str(file) if by == "file" else "squashed"
    path, saved = picture(tmp_path), tmp_path / "saved"
    save_openclip(saved, *read(f"open_clip:{name}/{pretrained}"))
    model, _, transform = open_clip.create_model_and_transforms(
        name,
        pretrained=str(file),
        **({} if by == "file" else {f"image_{key}": value for key, value in SQUASH.items()}),
    )
    model.eval()
    encoder = load_encoder(saved, {}, "fp32", CPU)
    pixels = torch.from_numpy(decode(path, encoder.preprocess).copy())[None].permute(0, 3, 1, 2)
    theirs, ours = transform(Image.open(path))[None], encoder.preprocess.normalize(pixels)
    levels = (theirs - ours).abs() * 255 * torch.tensor(encoder.preprocess.std)[:, None, None]
    assert levels.max() < 2.01 and (levels > 0.01).float().mean() < 0.02, (
        "Pillow and torch round a few differently"
    )
    assert (encoder.preprocess.resize is None) == (by == "tag")

    wanted = model.encode_image(ours, normalize=False)
    torch.testing.assert_close(encoder(pixels), wanted, atol=1e-5, rtol=1e-5)
    assert encoder.attributes["layer"] == "embedding" and "open_clip_torch" in encoder.attributes["libraries"]
    if name not in PATCHES:
        with pytest.raises(UserError, match="no layer 'patches'; expected embedding"):
            load_encoder(saved, {"layer": "patches"})
        return
    tower = model.visual
    blocks = tower.trunk.blocks if hasattr(tower, "trunk") else tower.transformer.resblocks
    tokens = []
    blocks[-1].register_forward_hook(lambda _, given, output: tokens.append(output))
    tower(ours)
    patches = load_encoder(saved, {"layer": "patches"}, "fp32", CPU)(pixels)
    assert tuple(patches.shape[1:]) == PATCHES[name]
    torch.testing.assert_close(patches, tokens[0][:, -PATCHES[name][0] :], atol=1e-5, rtol=1e-5)


@needs_bf16
def test_bf16_features_are_near_those_of_fp32(made, tmp_path):
    name, file = made
    save_openclip(tmp_path / "saved", *read(f"open_clip:{name}/{file}"))
    encoders = [load_encoder(tmp_path / "saved", {}, precision, CPU) for precision in ("fp32", "bf16")]
    side = encoders[0].preprocess.image_size
    pixels = torch.randint(
        0, 256, (2, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    exact, rough = (encoder(pixels) for encoder in encoders)
    assert torch.nn.functional.cosine_similarity(exact, rough).min() > 0.999


def test_what_is_no_model_tag_or_file_is_one_sentence(tmp_path, monkeypatch):
    from captioning.features.openclip import preprocess_of

    _, file = known("tiny-vit", tmp_path, monkeypatch)
    for setting, told in (
        ("tiny-vit", r"expected open_clip:NAME/PRETRAINED"),
        ("tiny-vot/squashed", r"NAME one of open_clip.list_models\(\) \(tiny-vit, \.\.\.\)"),
        ("tiny-vit/pressed", "pressed is neither a file nor a tag of tiny-vit; its tags are: squashed"),
        (f"tiny-vit/{tmp_path}/none.pt", "none.pt is neither a file nor a tag"),
    ):
        with pytest.raises(UserError, match=told):
            sources.clip(f"open_clip:{setting}")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"broken\.safetensors cannot be read, .* is not a file of open_clip"):
        read(f"open_clip:tiny-vit/{broken}")
    code = tmp_path / "code.pt"
    code.write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    with pytest.raises(UserError, match=r"code\.pt cannot be read"):
        read(f"open_clip:tiny-vit/{code}")
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED["tiny-vit"]["squashed"], "quick_gelu", False)
    with pytest.raises(UserError, match="trained with another activation"):
        sources.clip("open_clip:tiny-vit/squashed")
    usual = {
        "size": 32, "mean": (0, 0, 0), "std": (1, 1, 1), "interpolation": "bicubic",
        "resize_mode": "shortest",
    }  # fmt: skip
    for change_, told in (
        ({"resize_mode": "longest"}, "resize_mode = 'longest'"),
        ({"size": (32, 40)}, "size = "),
    ):
        with pytest.raises(UserError, match=told):
            preprocess_of(usual | change_, "tiny")


def test_weights_that_are_not_there_are_named_with_their_places(tmp_path, monkeypatch):
    _, file = known("tiny-vit", tmp_path, monkeypatch)
    wanted = sources.clip("open_clip:tiny-vit/squashed")
    assert wanted.find() == wanted.get() == file
    file.unlink()
    assert wanted.find() is None and wanted.places() == [str(tmp_path / "models--me--tiny-vit")]
    with pytest.raises(
        UserError, match=r"me/tiny-vit \(open_clip_model\.safetensors or .*HF_HUB_OFFLINE is set"
    ):
        wanted.get()


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project whose ClipCap reads the patches of a ViT of open_clip, through to captions."""
    root = tmp_path_factory.mktemp("towers")
    torch.manual_seed(0)
    save_file(open_clip.create_model("ViT-S-32-alt").state_dict(), root / "weights.safetensors")
    folder = copy_project(root / "project", "dvc.lock")
    change(
        folder,
        clip={"weights": f"open_clip:ViT-S-32-alt/{root / 'weights.safetensors'}", "layer": "patches"},
        finetune_clip={"epochs": 0},
        model={"mapping": "transformer", "mapping_layers": 1},
    )
    for stage in ("inputs", "prepare", "finetune_clip", "extract_clip", "train_clipcap", "generate clipcap"):
        done = python_m(folder, *f"stages.{stage}".split())
        assert done.returncode == 0, done.stderr
    return folder


def test_a_pipeline_captions_from_patches_and_the_captioner_can_be_given_away(project, tmp_path):
    assert (project / "inputs/clip.weights").resolve() == (project.parent / "weights.safetensors").resolve()
    store = FeatureStore.open(project / "features/clip.h5")
    assert store.shape[1:] == (49, 384) and store.attrs["layer"] == "patches"
    assert len(json.loads((project / "captions/clipcap.json").read_text())) == 6
    store.shape = (len(store), 384)
    assert "has no text tower" in clipscore.fault(project / "checkpoints/clip", store)
    picture(project)
    assert "picture.png" in python_m(project, "app", "--captioner", "clipcap", "picture.png").stdout
    export(project / "checkpoints/clipcap", tmp_path / "given")
    given, here = (load_captioner(f) for f in (tmp_path / "given", project / "checkpoints/clipcap"))
    assert given([project / "picture.png"]) == here([project / "picture.png"])


def test_it_takes_no_fine_tuning():
    values = schema.read_yaml(ROOT / "params.yaml")
    values["clip"]["weights"] = "open_clip:ViT-B-32/laion2b_s34b_b79k"
    with pytest.raises(
        UserError, match=r"open_clip:ViT-B-32/laion2b_s34b_b79k: .*finetune_clip\.epochs to 0"
    ):
        schema.check(values, "params.yaml")


def test_versions_are_those_that_were_tried():
    from importlib.metadata import version

    lines = (ROOT / "requirements-open-clip.txt").read_text().splitlines()
    for name, _, pinned in (line.partition("==") for line in lines if not line.startswith("#")):
        assert version(name) == pinned, (
            f"{name}: try it, then write its version into requirements-open-clip.txt"
        )
    assert named.check_installed("a test") is None
