"""The encoders' outputs equal the libraries'; a checkpoint folder returns what was saved."""

import sys

import clip.model as openai
import pytest
import torch
import torch.nn.functional as F
from processor import needs_bf16

from captioning.core.errors import UserError
from captioning.core.files import write_json
from captioning.features.encode import images_at_once, steady
from captioning.features.encoders import (
    load_clip,
    load_encoder,
    load_vgg16,
    open_clip,
    open_vgg16,
    save_clip,
    save_vgg16,
)
from captioning.features.images import clip_preprocess, vgg16_preprocess
from captioning.features.pixels import one_core_each
from captioning.weights import sources
from models import clip, clip_weights, vgg16
from models.empty import no_weights

VIT = clip.CLIPConfig(128, 64, 3, 128, 16, 24, 1000, 64, 2)
RESNET = clip.CLIPConfig(96, 64, (1, 2, 1, 1), 16, None, 24, 1000, 64, 2)
CPU = torch.device("cpu")


def pixels(count: int, size: int) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def test_without_open_clip_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    write_json(
        tmp_path / "config.json",
        {"kind": "open_clip", "sizes": {}, "preprocess": clip_preprocess().to_dict()},
    )
    for use in (lambda: sources.clip("open_clip:ViT-B-32/openai"), lambda: load_encoder(tmp_path, {})):
        with pytest.raises(
            UserError, match=r"not installed: `uv pip install open_clip_torch` .requirements-open-clip"
        ):
            use()


@torch.no_grad()
def test_full_size_vgg16_equals_torchvisions_exactly():
    from torchvision.models import vgg16 as build

    theirs = build(init_weights=False).eval()
    ours = vgg16.from_state_dict(theirs.state_dict()).eval()
    assert ours.config == vgg16.VGG16Config()
    images = vgg16_preprocess().normalize(pixels(1, 224))
    grid = theirs.features[:30](images)  # up to conv5_3's ReLU
    fc7 = theirs.classifier[:5](theirs.avgpool(theirs.features[30:](grid)).flatten(1))
    assert torch.equal(ours(images), theirs.classifier[5:](fc7))
    assert torch.equal(ours.fc7(images), fc7) and fc7.shape == (1, 4096)
    assert torch.equal(ours.conv5_3(images), grid.permute(0, 2, 3, 1)) and grid.shape == (1, 512, 14, 14)


def test_weight_names_are_torchvisions_with_and_without_batch_normalisation():
    import torchvision.models as theirs

    for batch_norm, build in [(False, theirs.vgg16), (True, theirs.vgg16_bn)]:
        with torch.device("meta"):
            expected = build().state_dict()
        with no_weights():
            ours = vgg16.VGG16(vgg16.VGG16Config(batch_norm=batch_norm)).state_dict()
        assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in expected.items()}


def test_vgg16_sizes_follow_the_weights_and_foreign_weights_are_refused():
    for config in [
        vgg16.VGG16Config(64, 0.125, True, 7),
        vgg16.VGG16Config(32, 0.25, False, 1),
        vgg16.VGG16Config(96, 0.0625, True, 30),
    ]:
        network = vgg16.VGG16(config)
        assert vgg16.from_state_dict(network.state_dict()).config == config
        assert network.classifier[3].out_features == config.channels(4096)
    for change in (
        {"features.0.weight": None},
        {"extra": torch.zeros(1)},
        {"features.2.bias": torch.zeros(3)},
    ):
        weights = {n: t for n, t in {**network.state_dict(), **change}.items() if t is not None}
        with pytest.raises(ValueError, match="not a VGG16"):
            vgg16.from_state_dict(weights)
    with pytest.raises(ValueError, match="multiple of 32"):
        vgg16.VGG16Config(100)


@torch.no_grad()
def test_a_new_head_leaves_the_features_alone():
    network = vgg16.VGG16(vgg16.VGG16Config(64, 0.125, True, 7)).eval()
    images = torch.randn(2, 3, 64, 64)
    before = network.fc7(images)
    network.replace_head(19)
    assert torch.equal(network.fc7(images), before) and network(images).shape == (2, 19)
    assert network.config.num_labels == 19


@pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])
@torch.no_grad()
def test_clip_equals_openais_own_exactly(config, tmp_path):
    import clip as package

    weights = {n: t.half() for n, t in clip.build(config).state_dict().items() if "num_batches" not in n}
    weights = {n: (t.float() * 0.5 + 0.5).half() if "running_var" in n else t for n, t in weights.items()}
    torch.save(weights, tmp_path / "clip.pt")
    theirs, _ = package.load(str(tmp_path / "clip.pt"), device="cpu")  # fp16 weights, widened to fp32
    ours = clip_weights.from_state_dict({**weights, **EXTRAS}).eval()
    assert clip_weights.config_of(weights) == config
    images, texts = torch.randn(3, 3, 64, 64), torch.randint(1, 1000, (4, 24))
    assert torch.equal(ours.encode_image(images), theirs.encode_image(images))
    assert torch.equal(ours.encode_text(texts), theirs.encode_text(texts))
    assert all(t.dtype in (torch.float32, torch.int64) for t in ours.state_dict().values())
    assert all(t.dtype == torch.float16 for t in weights.values())  # the given network is unchanged


EXTRAS = {
    "input_resolution": torch.tensor(64),
    "context_length": torch.tensor(24),
    "vocab_size": torch.tensor(1000),
}


def test_clip_sizes_of_official_models_are_read_from_their_weights():
    official = {
        "RN50": clip.CLIPConfig(1024, 224, (3, 4, 6, 3), 64, None, 77, 49408, 512, 12),
        "ViT-B/32": clip.CLIPConfig(512, 224, 12, 768, 32, 77, 49408, 512, 12),
    }
    for name, config in official.items():
        with no_weights():
            assert clip_weights.config_of(clip.build(config).state_dict()) == config, name


def test_foreign_weights_are_no_clip():
    with pytest.raises(ValueError, match="not a CLIP"):
        clip_weights.from_state_dict(vgg16.VGG16(vgg16.VGG16Config(32, 0.1)).state_dict())
    weights = clip.build(VIT).state_dict()
    weights["ln_final.bias"] = torch.zeros(3)
    with pytest.raises(ValueError, match="do not fit"):
        clip_weights.from_state_dict(weights)
    with pytest.raises(ValueError, match="text_width must be a multiple of 64"):
        clip.CLIPConfig(128, 64, 3, 128, 16, 24, 1000, 100, 2)


@pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])
@torch.no_grad()
def test_clip_encoder_equals_encode_image(config, tmp_path):
    model = clip.build(config).eval()
    save_clip(tmp_path, model, clip_preprocess(64), retrieval={"r1": 0.5})
    again, preprocess, saved = open_clip(tmp_path)
    assert preprocess == clip_preprocess(64) and saved["retrieval"] == {"r1": 0.5}
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True)
    )
    images = pixels(5, 64)
    expected = model.encode_image(preprocess.normalize(images))
    exact = load_clip(tmp_path, normalize=False, precision="fp32", device=CPU)
    torch.testing.assert_close(exact(images), expected, atol=1e-5, rtol=1e-5)
    unit = load_clip(tmp_path, normalize=True, precision="fp32", device=CPU)
    torch.testing.assert_close(unit(images), F.normalize(expected, dim=-1), atol=1e-5, rtol=1e-5)
    assert [e.attributes["normalization"] for e in (exact, unit)] == ["none", "l2"]
    assert exact.attributes["precision"] == "float32"


@torch.no_grad()
def test_vgg16_encoder_equals_the_network(tmp_path):
    network = vgg16.VGG16(vgg16.VGG16Config(64, 0.25, True, 7)).train()
    preprocess, images = vgg16_preprocess(64), pixels(5, 64)
    network(preprocess.normalize(images))  # running statistics
    save_vgg16(tmp_path, network.eval(), preprocess, labels=["dog"])
    again, _, saved = open_vgg16(tmp_path)
    assert saved["labels"] == ["dog"] and again.config == network.config
    for layer, function in (("fc7", network.fc7), ("conv5_3", network.conv5_3)):
        expected = function(preprocess.normalize(images))
        exact = load_vgg16(tmp_path, layer, "fp32", CPU)
        torch.testing.assert_close(exact(images), expected, atol=1e-5, rtol=1e-4)


@needs_bf16
def test_bf16_features_are_near_those_of_fp32(tmp_path):
    save_clip(tmp_path / "clip", clip.build(RESNET), clip_preprocess(64))
    save_vgg16(tmp_path / "vgg16", vgg16.VGG16(vgg16.VGG16Config(64, 0.25, True, 7)), vgg16_preprocess(64))
    images = pixels(5, 64)
    for load, *options in (
        (load_clip, tmp_path / "clip", False),
        (load_vgg16, tmp_path / "vgg16", "fc7"),
        (load_vgg16, tmp_path / "vgg16", "conv5_3"),
    ):
        exact, rough = load(*options, "fp32", CPU), load(*options, "bf16", CPU)
        assert F.cosine_similarity(rough(images).flatten(1), exact(images).flatten(1)).min() > 0.999
        assert [encoder.attributes["precision"] for encoder in (exact, rough)] == ["float32", "bfloat16"]


@torch.no_grad()
@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=needs_bf16)])
def test_a_row_does_not_depend_on_its_neighbours_or_its_place(precision, tmp_path):
    """In batches like those of a feature store, each computed by one thread."""
    save_clip(tmp_path / "resnet", clip.build(RESNET), clip_preprocess(64))
    save_clip(tmp_path / "vit", clip.build(VIT), clip_preprocess(64))
    save_vgg16(tmp_path / "vgg16", vgg16.VGG16(vgg16.VGG16Config(64, 0.25, True, 7)), vgg16_preprocess(64))
    for encoder in (
        load_clip(tmp_path / "resnet", precision=precision, device=CPU),
        load_clip(tmp_path / "vit", precision=precision, device=CPU),
        load_vgg16(tmp_path / "vgg16", "fc7", precision, CPU),
    ):
        size = steady(encoder, images_at_once(encoder, 64))
        images, order = pixels(2 * size, 64), torch.randperm(2 * size)
        with one_core_each() as start:
            start()
            whole, mixed = (
                torch.cat([encoder(part) for part in some.split(size)]) for some in (images, images[order])
            )
            lonely = [
                encoder(torch.cat([image[None], torch.zeros_like(images[1:size])]))[0] for image in images
            ]
        assert torch.equal(mixed, whole[order]) and torch.equal(torch.stack(lonely), whole)


def test_the_copied_networks_file_is_clips_own():
    assert clip.CLIP.__name__ == openai.CLIP.__name__ and clip._model.__file__ == openai.__file__


def test_a_stage_takes_its_own_kind_and_layers_only(tmp_path):
    save_clip(tmp_path / "clip", clip.build(RESNET), clip_preprocess(64))
    with pytest.raises(UserError, match="is a checkpoint of kind 'clip'; expected vgg16"):
        load_vgg16(tmp_path / "clip")
    save_vgg16(tmp_path / "vgg16", vgg16.VGG16(vgg16.VGG16Config(32, 0.1, True, 3)), vgg16_preprocess(32))
    with pytest.raises(UserError, match="a vgg16 has no layer 'fc6'; expected fc7 or conv5_3"):
        load_encoder(tmp_path / "vgg16", {"layer": "fc6"})


def test_rows_are_of_the_code_that_reads_pictures_decodes_and_encodes(tmp_path, monkeypatch):
    monkeypatch.setattr("captioning.features.encoders.hash_of_files", lambda paths: " ".join(map(str, paths)))
    save_clip(tmp_path, clip.build(RESNET), clip_preprocess(64))
    hashed = load_clip(tmp_path).code
    for name in ("captioning/core/pictures.py", "captioning/features/images.py", "models/clip.py"):
        assert name in hashed, name


def test_an_encoder_is_set_to_give_the_features_that_a_store_describes(tmp_path):
    save_clip(tmp_path / "clip", clip.build(RESNET), clip_preprocess(64))
    save_vgg16(tmp_path / "vgg16", vgg16.VGG16(vgg16.VGG16Config(32, 0.1, True, 3)), vgg16_preprocess(32))
    for first in (load_clip(tmp_path / "clip", False), load_clip(tmp_path / "clip"),
                  load_vgg16(tmp_path / "vgg16"), load_vgg16(tmp_path / "vgg16", "conv5_3")):  # fmt: skip
        folder = tmp_path / first.attributes["encoder"].split()[0]
        assert load_encoder(folder, first.attributes).attributes == first.attributes
