"""ClipCap's published checkpoints and our own as starting points; the authors' model on the same weights."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from official import CAPTIONS, gpt2_folder, gpt2_tokenizer
from published_clipcap import PREFIX, SIZE, VOCABULARY, published
from torch import Tensor

from benchmarks.networks import library_gpt2
from captioning.core import settings
from captioning.core.errors import UserError
from captioning.decoders import kinds
from captioning.decoders.checkpoint import save_decoder
from captioning.decoders.clipcap import initial_clipcap, sizes_of

ROOT = Path(__file__).parents[3]
VALUES = settings.read_yaml(ROOT / "params.yaml")
RAW, UNIT = {"normalization": "none"}, {"normalization": "l2"}


def options(tmp_path: Path, path: Path | str, epochs: int = 1, **model) -> settings.Settings:
    values = copy.deepcopy(VALUES)
    values["model"] |= {"init_from": str(path), "gpt2": str(tmp_path / "gpt2")} | model
    values["train_clipcap"]["epochs"] = epochs
    return settings.check(values, "params.yaml")


@pytest.mark.parametrize(
    ("mapping", "features", "first", "last"),
    [
        ("mlp", RAW, [1.1943, 2.40074, 3.5885, 4.74835], [5.15425, 4.83715, 4.48242, 4.09284]),
        ("transformer", UNIT, [1.56885, 1.41088, 1.24193, 1.06332], [5.133, 4.82371, 4.4769, 4.09527]),
    ],
)
@torch.no_grad()
def test_a_published_file_gives_the_logits_of_the_authors_model(tmp_path, mapping, features, first, last):
    """The figures come from rmokady/CLIP_prefix_caption's `ClipCaptionModel` (train.py) with these weights
    and inputs."""
    gpt2_tokenizer(tmp_path / "gpt2", VOCABULARY)
    path = published(tmp_path / "coco_prefix-009.pt", mapping)
    decoder = initial_clipcap(options(tmp_path, path), SIZE, features)
    config = decoder.model.config
    assert (config.mapping, config.prefix_len, config.feature_size) == (mapping, PREFIX, SIZE)
    assert mapping == "mlp" or (config.clip_len, config.mapping_layers) == (3, 2)
    model = decoder.model.eval()
    logits, state = model.begin(torch.cos(torch.arange(32) * 0.9).view(2, 16))
    torch.testing.assert_close(logits[0, :4], torch.tensor(first), rtol=0, atol=1e-4)
    for tokens in ([3, 8], [9, 24], [27, 1]):
        logits, state = model.step(torch.tensor(tokens), state)
    torch.testing.assert_close(logits[1, -4:], torch.tensor(last), rtol=0, atol=1e-4)


def test_used_at_once_it_ends_with_a_full_stop_and_trained_further_with_end_of_text(tmp_path):
    gpt2_tokenizer(tmp_path / "gpt2", VOCABULARY)
    path = published(tmp_path / "conceptual_weights.pt", "mlp")
    at_once = initial_clipcap(options(tmp_path, path, epochs=0), SIZE, RAW)
    assert at_once.text.eos_id == at_once.text.tokenizer.token_to_id(".")
    save_decoder(tmp_path / "saved", at_once)
    again = kinds.load(tmp_path / "saved")
    assert (
        again.text.end == "."
        and again.text.decode(again.text.tokenizer.encode("a dog. a cat").ids) == "a dog"
    )
    further = initial_clipcap(options(tmp_path, path, epochs=1), SIZE, RAW)
    assert further.text.end == "<|endoftext|>"


def test_what_is_frozen_is_what_params_say_and_training_works(tmp_path):
    gpt2_tokenizer(tmp_path / "gpt2", VOCABULARY)
    path = published(tmp_path / "transformer_weights.pt", "transformer")
    for frozen in (False, True):
        decoder = initial_clipcap(options(tmp_path, path, freeze_gpt2=frozen), SIZE, UNIT)
        save_decoder(tmp_path / "ours", decoder)
        for model in (
            decoder.model,
            initial_clipcap(options(tmp_path, tmp_path / "ours", freeze_gpt2=frozen), SIZE, UNIT).model,
            initial_clipcap(options(tmp_path, tmp_path / "ours", freeze_gpt2=not frozen), SIZE, UNIT).model,
        ):
            assert all(p.requires_grad != model.config.freeze_gpt2 for p in model.gpt.parameters())
        tokens = torch.tensor([[decoder.text.encode(CAPTIONS[:1], 12)[0]]])
        decoder.model.train().loss(torch.ones(1, SIZE), tokens).mean.backward()
        assert decoder.model.clip_project.prefix_const.grad.abs().sum() > 0


def test_features_that_do_not_fit_are_refused(tmp_path):
    gpt2_tokenizer(tmp_path / "gpt2", VOCABULARY)
    path = published(tmp_path / "a.pt", "mlp")
    with pytest.raises(UserError, match=r"embeddings of 16 numbers, but features/clip\.h5 has 640"):
        initial_clipcap(options(tmp_path, path), 640, RAW)
    with pytest.raises(UserError, match=r"normalization = none; set extract_clip\.normalize to false"):
        initial_clipcap(options(tmp_path, path, epochs=0), SIZE, UNIT)
    initial_clipcap(options(tmp_path, path, epochs=1), SIZE, UNIT)  # training adapts it
    decoder = initial_clipcap(options(tmp_path, path), SIZE, RAW | {"weights": "abc"})
    save_decoder(tmp_path / "ours", decoder)
    with pytest.raises(UserError, match=r"was trained on features with weights = 'abc'"):
        initial_clipcap(options(tmp_path, tmp_path / "ours", epochs=0), SIZE, RAW | {"weights": "def"})
    initial_clipcap(options(tmp_path, tmp_path / "ours", epochs=1), SIZE, RAW | {"weights": "def"})


def test_what_is_no_clipcap_is_said(tmp_path):
    gpt2_tokenizer(tmp_path / "gpt2", VOCABULARY)
    (tmp_path / "pickle.pt").write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pt")
    cases = {
        "none.pt": "no weights at",
        "pickle.pt": "cannot be opened safely|holds no weights that can be opened safely",
        "other.pt": "no weight named 'gpt.transformer.wte.weight'",
        published(
            tmp_path / "less.pt", "mlp", **{"gpt.transformer.h.1.ln_1.bias": None}
        ).name: "does not fit",
        published(tmp_path / "more.pt", "mlp", **{"clip_project.extra": torch.ones(1)}).name: "does not fit",
    }
    for name, fault in cases.items():
        with pytest.raises(UserError, match=fault):
            initial_clipcap(options(tmp_path, tmp_path / name), SIZE, RAW)
    with pytest.raises(UserError, match=r"set model\.gpt2 to gpt2"):
        initial_clipcap(options(tmp_path, published(tmp_path / "a.pt", "mlp"), gpt2="scratch"), SIZE, RAW)
    gpt2_tokenizer(tmp_path / "gpt2", 280)
    with pytest.raises(UserError, match="vocabulary of 300 tokens, but"):
        initial_clipcap(options(tmp_path, tmp_path / "a.pt"), SIZE, RAW)


def test_sizes_of_the_published_files_are_read_from_their_shapes():
    def weights(size: int, prefix: int, clip_len: int | None) -> dict[str, Tensor]:
        with torch.device("meta"):
            found = {"gpt.transformer.wte.weight": torch.empty(50257, 768)}
            found["gpt.transformer.wpe.weight"] = torch.empty(1024, 768)
            found |= {f"gpt.transformer.h.{i}.ln_1.weight": torch.empty(768) for i in range(12)}
            if clip_len is None:
                found["clip_project.model.0.weight"] = torch.empty(768 * prefix // 2, size)
                return found | {"clip_project.model.2.weight": torch.empty(768 * prefix, 768 * prefix // 2)}
            found["clip_project.prefix_const"] = torch.empty(prefix, 768)
            found["clip_project.linear.weight"] = torch.empty(768 * clip_len, size)
            return found | {
                f"clip_project.transformer.layers.{i}.norm1.bias": torch.empty(768) for i in range(8)
            }

    coco = sizes_of(weights(512, 10, None))
    assert (coco["mapping"], coco["prefix_len"], coco["feature_size"]) == ("mlp", 10, 512)
    frozen = sizes_of(weights(640, 40, 40))
    assert (frozen["mapping"], frozen["prefix_len"], frozen["feature_size"]) == ("transformer", 40, 640)
    assert (frozen["clip_len"], frozen["mapping_layers"]) == (40, 8)
    for sizes in (coco, frozen):  # GPT-2's own sizes are transformers' defaults
        assert sizes["gpt2"].get("n_head", 12) == 12 and sizes["gpt2"].get("n_layer", 12) == 12


def test_gpt2_folders_are_read_whole_or_not_at_all(tmp_path):
    from safetensors.torch import load_file, save_file

    from captioning.decoders.clipcap import language_model

    theirs = gpt2_folder(tmp_path / "gpt2")
    text, ours = language_model(options(tmp_path, "").model, [])
    assert text.size == 300 and text.decode(text.encode(["a man runs"])[0]) == "a man runs"
    tokens = torch.arange(20)[None]
    assert torch.equal(library_gpt2(ours.eval())(tokens).logits, theirs(tokens).logits)
    assert ours.lm_head.weight is ours.transformer.wte.weight
    weights = load_file(tmp_path / "gpt2/model.safetensors")
    del weights["h.1.mlp.c_fc.bias"]
    save_file(weights, tmp_path / "gpt2/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        UserError, match=r"1 of GPT-2.s weights are missing.*transformer\.h\.1\.mlp\.c_fc\.bias"
    ):
        language_model(options(tmp_path, "").model, [])
    (tmp_path / "gpt2/model.safetensors").write_bytes(np.random.default_rng(0).bytes(100))
    with pytest.raises(UserError, match=r"model\.safetensors holds no weights that can be opened safely"):
        language_model(options(tmp_path, "").model, [])
    (tmp_path / "gpt2/merges.txt").unlink()
    with pytest.raises(UserError, match="has no tokenizer"):
        language_model(options(tmp_path, "").model, [])
    with pytest.raises(UserError, match=r"expected a folder, one of gpt2, gpt2-medium"):
        language_model(options(tmp_path, "", gpt2="gpt3").model, [])
