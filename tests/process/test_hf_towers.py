"""Towers of transformers as encoders: pixels and features are that library's, for embeddings and patches."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from forked import python_m
from PIL import Image
from processor import needs_bf16
from project_copy import ROOT, change, copy_project

from captioning.core import settings as schema
from captioning.core.errors import UserError
from captioning.features.encoders import load_encoder, save_clip, save_hf
from captioning.features.hf import preprocess_of, read_tower
from captioning.features.images import clip_preprocess, decode
from captioning.features.store import FeatureStore
from captioning.metrics import clipscore
from captioning.weights import sources
from models import clip_weights
from models.clipcap import ClipCap, ClipCapConfig
from models.gpt2 import GPT2, GPT2Config

SIZES = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8,
}  # fmt: skip
WIDE = SIZES | {"intermediate_size": 96}
TEXT = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 1, "num_attention_heads": 1,
        "vocab_size": 99, "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
CROP = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}
SQUASH = {"size": {"height": 32, "width": 32}}
CPU = torch.device("cpu")


def clip_model():
    config = transformers.CLIPConfig(
        text_config=TEXT,
        vision_config=SIZES | {"num_attention_heads": 1, "intermediate_size": 256},
        projection_dim=24,
    )
    return transformers.CLIPModel(config)


MODELS = {  # how to make a model and its processor, and how many tokens come before those of the patches
    "clip": (clip_model, lambda: transformers.CLIPImageProcessor(**CROP), 1),
    "clip vision": (
        lambda: transformers.CLIPVisionModelWithProjection(
            transformers.CLIPVisionConfig(**WIDE, projection_dim=24)
        ),
        lambda: transformers.CLIPImageProcessor(**CROP), 1,
    ),
    "siglip": (
        lambda: transformers.SiglipModel(transformers.SiglipConfig(text_config=TEXT, vision_config=WIDE)),
        lambda: transformers.SiglipImageProcessor(**SQUASH), 0,
    ),
    "dinov2": (
        lambda: transformers.Dinov2Model(transformers.Dinov2Config(**SIZES)),
        lambda: transformers.BitImageProcessor(**CROP), 1,
    ),
    "dinov3": (
        lambda: transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**WIDE, num_register_tokens=2)),
        lambda: transformers.DINOv3ViTImageProcessor(**SQUASH), 3,
    ),
    "vit classifier": (
        lambda: transformers.ViTForImageClassification(transformers.ViTConfig(**WIDE)),
        lambda: transformers.ViTImageProcessor(**SQUASH), 1,
    ),
    "convnext": (
        lambda: transformers.ConvNextModel(
            transformers.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1] * 4)
        ),
        lambda: transformers.ViTImageProcessor(**SQUASH), None,
    ),
}  # fmt: skip


@pytest.fixture(params=MODELS)
def made(request, tmp_path):
    """A model with random weights in a folder, as transformers writes it."""
    torch.manual_seed(0)
    build, processor, first = MODELS[request.param]
    model, processor = build().eval(), processor()
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    return request.param, tmp_path / "model", model, processor, first


def picture(folder: Path, width: int = 60, height: int = 44) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    path = folder / "picture.png"
    Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


def theirs(kind: str, model, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The library's own embedding of images, and the tokens of its last layer."""
    tower = getattr(model, "vision_model", getattr(model, "vit", model))
    tokens = tower(pixel_values=pixels).last_hidden_state
    if kind == "clip vision":
        return model(pixel_values=pixels).image_embeds, tokens
    if kind in ("clip", "siglip"):
        return model.get_image_features(pixel_values=pixels).pooler_output, tokens
    return (
        tokens[:, 0] if kind == "vit classifier" else model(pixel_values=pixels).pooler_output.flatten(1)
    ), tokens


@torch.inference_mode()
def test_pixels_and_features_are_the_librarys(made, tmp_path):
    kind, folder, model, processor, first = made
    tower, preprocess = read_tower(folder)
    save_hf(tmp_path / "saved", tower, preprocess)
    path = picture(tmp_path)
    pixels = torch.from_numpy(decode(path, preprocess).copy())[None].permute(0, 3, 1, 2)
    images = processor(images=Image.open(path), return_tensors="pt")["pixel_values"]
    level = 1 / 255 / min(preprocess.std)  # DINOv3's processor resizes floats and rounds nothing
    assert (preprocess.normalize(pixels) - images).abs().max() <= (1 if kind == "dinov3" else 1e-4) * level
    embedding, tokens = theirs(kind, model, preprocess.normalize(pixels))
    encoder = load_encoder(tmp_path / "saved", {}, "fp32", CPU)
    torch.testing.assert_close(encoder(pixels), embedding, atol=1e-5, rtol=1e-5)
    assert encoder.attributes["layer"] == "embedding" and "transformers" in encoder.attributes["libraries"]
    if first is None:
        with pytest.raises(UserError, match="no layer 'patches'; expected embedding"):
            load_encoder(tmp_path / "saved", {"layer": "patches"})
        return
    patches = load_encoder(tmp_path / "saved", {"layer": "patches"}, "fp32", CPU)(pixels)
    torch.testing.assert_close(patches, tokens[:, first:], atol=1e-5, rtol=1e-5)
    assert patches.shape == (1, 16, 64)


def test_cores_that_share_a_tower_do_not_disturb_each_other(made, tmp_path):
    save_hf(tmp_path / "saved", *read_tower(made[1]))
    encoder = load_encoder(tmp_path / "saved", {}, "bf16", CPU)
    batches = torch.randint(0, 256, (40, 2, 3, 32, 32), dtype=torch.uint8)
    alone = [encoder(batch) for batch in batches]
    with ThreadPoolExecutor(4) as cores:
        together = list(cores.map(encoder, batches))
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


@needs_bf16
def test_bf16_features_are_near_those_of_fp32(made, tmp_path):
    _, folder, _, _, first = made
    save_hf(tmp_path / "saved", *read_tower(folder))
    pixels = torch.randint(
        0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    for layer in ("embedding",) if first is None else ("embedding", "patches"):
        exact, rough = (
            load_encoder(tmp_path / "saved", {"layer": layer}, p, CPU)(pixels) for p in ("fp32", "bf16")
        )
        assert torch.nn.functional.cosine_similarity(exact.flatten(1), rough.flatten(1)).min() > 0.999


@torch.inference_mode()
def test_patches_of_openais_towers_are_those_of_transformers(tmp_path):
    torch.manual_seed(0)
    model = clip_model().eval()
    ours = clip_weights.from_transformers(model.config.to_dict(), model.state_dict())
    save_clip(tmp_path, ours, clip_preprocess(32))
    encoder = load_encoder(tmp_path, {"layer": "patches"}, "fp32", CPU)
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    expected = model.vision_model(pixel_values=encoder.preprocess.normalize(pixels)).last_hidden_state[:, 1:]
    torch.testing.assert_close(encoder(pixels), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(60, 44), (44, 60), (33, 200), (2000, 20)])
def test_a_squashed_picture_is_seen_whole(shape, tmp_path):
    processor = transformers.SiglipImageProcessor(**SQUASH)
    preprocess = preprocess_of(processor.to_dict(), tmp_path)
    path = picture(tmp_path, *shape)
    expected = processor(images=Image.open(path), return_tensors="pt", do_normalize=False, do_rescale=False)
    assert np.array_equal(decode(path, preprocess).transpose(2, 0, 1), expected["pixel_values"][0].numpy())


@pytest.mark.parametrize(
    "change, said",
    [
        ({"resample": 1}, "resample = 1, expected 2"),
        ({"size": {"shortest_edge": 32}}, "size = .*a square, or a centre crop"),
        ({"size": {"height": 32, "width": 40}}, "size = .*expected a square"),
        (
            {"do_center_crop": True, **CROP, "crop_size": {"height": 40, "width": 40}},
            "crop_size = .*36 pixels",
        ),
        ({"do_rescale": False}, "do_rescale = False, expected true"),
        ({"rescale_factor": 1 / 127.5}, "rescale_factor"),
        ({"do_pad": True}, "do_pad = True, expected false"),
        ({"crop_pct": 0.875}, "crop_pct = 0.875"),
    ],
)
def test_preprocessing_that_cannot_be_expressed_is_refused(change, said, tmp_path):
    usual = transformers.SiglipImageProcessor(**SQUASH).to_dict()
    assert preprocess_of(usual, tmp_path).resize is None
    with pytest.raises(UserError, match=said):
        preprocess_of(usual | change, tmp_path)


def test_a_tower_by_its_name_comes_from_the_hubs_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    stored = tmp_path / "models--google--siglip2-tiny"
    build, processor, _ = MODELS["siglip"]
    build().save_pretrained(stored / "snapshots/abc")
    (stored / "refs").mkdir()
    (stored / "refs/main").write_text("abc")
    named = sources.clip("hf:google/siglip2-tiny")
    assert named.find() is None, "no processor yet"
    processor().save_pretrained(stored / "snapshots/abc")
    assert named.get() == stored / "snapshots/abc" and read_tower(named.get())[1].image_size == 32


def test_folders_that_hold_no_whole_tower_are_refused(tmp_path):
    with pytest.raises(UserError, match="expected hf: and a folder, or an owner/name"):
        sources.clip("hf:no/such/folder")
    with pytest.raises(UserError, match="expected hf: and a folder"):
        sources.clip("hf:")
    with pytest.raises(UserError, match=r"google/none \(config.json, .*HF_HUB_OFFLINE"):
        sources.clip("hf:google/none").get()
    with pytest.raises(UserError, match="is not a vision model"):
        read_tower(tmp_path)
    model, processor, _ = MODELS["dinov2"]
    model().save_pretrained(tmp_path)
    processor().save_pretrained(tmp_path)
    assert sources.clip(f"hf:{tmp_path}").get() == tmp_path
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(UserError, match="weights are missing, such as"):
        read_tower(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "siglip2"}))
    with pytest.raises(UserError, match="NaFlex"):
        read_tower(tmp_path)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"clip": {"weights": "hf:a/b"}}, "clip.weights = hf:a/b: .*finetune_clip.epochs to 0"),
        ({"clip": {"weights": "ViT-B/32", "layer": "patches"}}, "model.mapping to transformer"),
        ({"clip": {"layer": "patches"}, "model": {"mapping": "transformer"}}, "scratch is a ResNet"),
    ],
)
def test_settings_that_do_not_go_together_are_one_sentence(change, said):
    values = schema.read_yaml(ROOT / "params.yaml")
    for group, keys in change.items():
        values[group] |= keys
    with pytest.raises(UserError, match=said):
        schema.check(values, "params.yaml")


def test_a_clipcap_takes_patches_as_tokens_and_sees_each(tmp_path):
    torch.manual_seed(0)
    gpt = GPT2(GPT2Config(vocab_size=50, n_positions=32, n_embd=32, n_layer=1, n_head=2))
    config = ClipCapConfig(64, "transformer", prefix_len=4, clip_len=0, mapping_layers=2, standardize=True)
    model = ClipCap(config, gpt).eval()
    features = torch.randn(3, 16, 64)
    model.standardize.fit(features.half())
    prefix = model.prefix(features)
    assert prefix.shape == (3, 4, 32)
    other = features.clone()
    other[1, 11] += 1
    moved = (model.prefix(other) - prefix).abs().amax((1, 2)) > 1e-5
    assert moved.tolist() == [False, True, False]
    loss = model.loss(features, torch.randint(0, 50, (3, 2, 6)))
    assert torch.isfinite(loss.total) and model.begin(features)[0].shape == (3, 50)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project whose ClipCap reads the patches of a SigLIP in a folder, through to captions."""
    root = tmp_path_factory.mktemp("towers")
    build, processor, _ = MODELS["siglip"]
    build().save_pretrained(root / "siglip")
    processor().save_pretrained(root / "siglip")
    folder = copy_project(root / "project", "dvc.lock")
    change(
        folder,
        clip={"weights": f"hf:{root / 'siglip'}", "layer": "patches"},
        finetune_clip={"epochs": 0},
        model={"mapping": "transformer", "mapping_layers": 1},
    )
    for stage in ("inputs", "prepare", "finetune_clip", "extract_clip", "train_clipcap", "generate clipcap"):
        done = python_m(folder, *f"stages.{stage}".split())
        assert done.returncode == 0, done.stderr
    return folder


def test_a_pipeline_captions_from_patches_of_a_tower_in_a_folder(project):
    linked = project / "inputs/clip.weights/model.safetensors"
    assert linked.resolve() == (project.parent / "siglip/model.safetensors").resolve()
    store = FeatureStore.open(project / "features/clip.h5")
    assert store.shape[1:] == (16, 64) and store.attrs["layer"] == "patches"
    assert (np.linalg.norm(store.read(np.arange(3)).astype(float), axis=-1) - 1).max() < 1e-3
    sizes = json.loads((project / "checkpoints/clipcap/config.json").read_text())["sizes"]
    assert sizes["clip_len"] == 0 and sizes["feature_size"] == 64
    assert len(json.loads((project / "captions/clipcap.json").read_text())) == 6
    picture(project)
    assert "picture.png" in python_m(project, "app", "--captioner", "clipcap", "picture.png").stdout


def test_there_is_no_clipscore_without_a_text_tower(project):
    store = FeatureStore.open(project / "features/clip.h5")
    assert "no single vector" in clipscore.fault(project / "checkpoints/clip", store)
    store.shape = (len(store), 64)
    assert "has no text tower" in clipscore.fault(project / "checkpoints/clip", store)
