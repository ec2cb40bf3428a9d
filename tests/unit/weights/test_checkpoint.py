"""Checkpoint folders: one form for encoders and decoders, older forms load, and faults are reported."""

import json
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_decoders import SIZE

from captioning.core import settings
from captioning.core.errors import UserError
from captioning.decoders.checkpoint import Decoder, save_decoder
from captioning.decoders.kinds import load
from captioning.decoders.vocabulary import train_bpe, word_vocabulary
from captioning.features.encoders import load_clip, open_clip, open_vgg16, save_clip, save_vgg16
from captioning.features.images import clip_preprocess, vgg16_preprocess
from captioning.features.initial import initial_clip
from captioning.weights import checkpoint
from captioning.weights.checkpoint import config_from
from models import clip, clipcap, vgg16
from models.lstm import LSTMConfig, LSTMDecoder

CAPTIONS = ["a dog runs in the park", "two men sit on a street"]
FEATURES = {"encoder": "vgg16", "layer": "fc7"}
GPT2 = {"vocab_size": 260, "n_positions": 20, "n_embd": 16, "n_layer": 1, "n_head": 2}


def lstm() -> Decoder:
    text = word_vocabulary(CAPTIONS, 1)
    config = LSTMConfig(text.size, SIZE, embed_dim=16, hidden_size=16)
    return Decoder("lstm", LSTMDecoder(config), text, config.to_dict(), FEATURES)


def gpt() -> Decoder:
    text = train_bpe(CAPTIONS, 260)
    sizes = clipcap.ClipCapConfig(SIZE, prefix_len=2).to_dict() | {"gpt2": GPT2 | {"vocab_size": text.size}}
    return Decoder("clipcap", clipcap.from_sizes(sizes), text, sizes, FEATURES)


ENCODERS = {
    "vgg16": (
        vgg16.VGG16(vgg16.VGG16Config(32, 0.1, True, 3)), vgg16_preprocess(32), save_vgg16, open_vgg16,
        {"labels": ["dog", "man", "park"], "dev_map": 0.5},
    ),
    "clip": (
        clip.build(clip.CLIPConfig(32, 32, (1, 1, 1, 1), 8, None, 12, 100, 64, 1)), clip_preprocess(32),
        save_clip, open_clip, {"retrieval": {"after": {"mean_recall": 0.5}}},
    ),
}  # fmt: skip


def config(folder) -> dict:
    return json.loads((folder / "config.json").read_text())


def change(folder, **values) -> None:
    (folder / "config.json").write_text(json.dumps(config(folder) | values))


def equal(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_s_folder_of_the_older_form_loads(tmp_path, kind):
    network, preprocess, save, opened, about = ENCODERS[kind]
    save(tmp_path, network, preprocess, **about)
    new = config(tmp_path)
    assert list(new) == ["kind", "sizes", "preprocess", *about]
    old = {"network": kind, **new["sizes"], "preprocess": new["preprocess"], **about}
    (tmp_path / "config.json").write_text(json.dumps(old))
    again, found, rest = opened(tmp_path)
    assert (
        equal(again, network) and found == preprocess and rest == {"preprocess": new["preprocess"], **about}
    )
    assert checkpoint.from_older(old) == new and checkpoint.from_older(new) == new


def test_a_clip_of_before_activations_were_stored_loads_as_openai_s(tmp_path):
    network, preprocess, *_ = ENCODERS["clip"]
    save_clip(tmp_path, network, preprocess)
    new = config(tmp_path)
    sizes = {key: value for key, value in new["sizes"].items() if key != "activation"}
    (tmp_path / "config.json").write_text(
        json.dumps({"network": "clip", **sizes, "preprocess": new["preprocess"]})
    )
    assert clip.activation_of(open_clip(tmp_path)[0]) == "quick_gelu"


def test_clip_weights_may_name_a_folder_of_either_form(tmp_path):
    network, preprocess, *_ = ENCODERS["clip"]
    save_clip(tmp_path, network, preprocess)
    options = settings.load().clip.model_copy(update={"weights": str(tmp_path)})
    assert equal(initial_clip(options)[0], network)
    new = config(tmp_path)
    old = {"network": "clip", **new["sizes"], "preprocess": new["preprocess"]}
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert equal(initial_clip(options)[0], network)


@pytest.mark.parametrize("make", [lstm, gpt])
def test_a_decoder_s_folder_gives_back_what_was_saved(tmp_path, make):
    decoder = make()
    save_decoder(tmp_path, decoder, training={"seed": 1}, dev_loss=2.5)
    assert list(config(tmp_path)) == ["kind", "sizes", "features", "training", "dev_loss"]
    again = load(tmp_path)
    assert equal(again.model, decoder.model) and not again.model.training
    assert (again.kind, again.sizes, again.features) == (decoder.kind, decoder.sizes, decoder.features)
    assert again.text.tokenizer.to_str() == decoder.text.tokenizer.to_str()
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1, (
        "others may read all of it, or none"
    )


def test_a_tensor_under_two_names_is_stored_once_and_stays_one(tmp_path):
    decoder = gpt()
    assert checkpoint.copies(decoder.model) == {"gpt.lm_head.weight": "gpt.transformer.wte.weight"}
    save_decoder(tmp_path, decoder)
    weights = load_file(tmp_path / "model.safetensors")
    assert "gpt.lm_head.weight" not in weights
    loaded = load(tmp_path).model.gpt
    assert loaded.lm_head.weight is loaded.transformer.wte.weight
    # As transformers might.
    twice = weights | {"gpt.lm_head.weight": weights["gpt.transformer.wte.weight"].clone()}
    save_file(twice, tmp_path / "model.safetensors")
    assert equal(load(tmp_path).model, decoder.model)


def test_half_precision_is_widened(tmp_path):
    decoder = lstm()
    save_decoder(tmp_path, decoder)
    halved = {name: tensor.half() for name, tensor in load_file(tmp_path / "model.safetensors").items()}
    save_file(halved, tmp_path / "model.safetensors")
    loaded = load(tmp_path).model.state_dict()
    assert all(torch.equal(loaded[name], halved[name].float()) for name in halved)


def test_a_config_takes_the_settings_of_the_same_names():
    options = settings.load().vgg16
    made = config_from(vgg16.VGG16Config, options, options.scratch, batch_norm=True, num_labels=1)
    assert asdict(made) == {
        "image_size": options.image_size, "width": options.scratch.width, "batch_norm": True, "num_labels": 1,
        "dropout": options.scratch.dropout,
    }  # fmt: skip


def damage(name):
    """Damages the decoder's or encoder's folder in one way."""

    def without(folder, key):
        (folder / "config.json").write_text(json.dumps({k: v for k, v in config(folder).items() if k != key}))

    def weights(folder, edit):
        found = load_file(folder / "model.safetensors")
        edit(found)
        save_file(found, folder / "model.safetensors")

    def cut(folder):
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])

    first = lambda found: min(name for name, tensor in found.items() if tensor.ndim)  # noqa: E731
    return {
        "no config": lambda folder: (folder / "config.json").unlink(),
        "no JSON": lambda folder: (folder / "config.json").write_text("{"),
        "a list": lambda folder: (folder / "config.json").write_text("[]"),
        "no kind": lambda folder: without(folder, "kind"),
        "no sizes": lambda folder: without(folder, "sizes"),
        "another kind": lambda folder: change(folder, kind="bert"),
        "a size unknown": lambda folder: change(folder, sizes=config(folder)["sizes"] | {"eyes": 2}),
        "a size too odd": lambda folder: change(folder, sizes=dict.fromkeys(config(folder)["sizes"], "x")),
        "no preprocess": lambda folder: without(folder, "preprocess"),
        "an odd preprocess": lambda folder: change(folder, preprocess={"mean": 1}),
        "no features": lambda folder: without(folder, "features"),
        "no weights": lambda folder: (folder / "model.safetensors").unlink(),
        "half the weights": cut,
        "a weight less": lambda folder: weights(folder, lambda found: found.pop(first(found))),
        "a weight more": lambda folder: weights(folder, lambda found: found.update(extra=torch.zeros(2))),
        "a shape": lambda folder: weights(
            folder, lambda found: found.update({first(found): torch.zeros(1, 2, 3)})
        ),
    }[name]


FAULTS = {
    "no config": r"config\.json cannot be read: No such file",
    "no JSON": "is not JSON: line 1",
    "a list": "is not the config of a checkpoint of kind",
    "no kind": "is not the config of a checkpoint of kind .*kind",
    "no sizes": "is not the config of a checkpoint of kind .*sizes",
    "another kind": "is a checkpoint of kind 'bert'; expected",
    "a size unknown": "its sizes do not make a .*eyes",
    "a size too odd": "its sizes do not make a ",
    "no weights": r"model\.safetensors is missing",
    "half the weights": "is damaged",
    "a weight less": r"does not fit config\.json: 1 weights are missing",
    "a weight more": r"does not fit config\.json: 1 weights have no place in the network, such as extra",
    "a shape": r"does not fit config\.json: .* has the shape \(1, 2, 3\), not",
}


@pytest.mark.parametrize("fault", [*FAULTS, "no features"])
@pytest.mark.parametrize("make", [lstm, gpt])
def test_what_is_wrong_with_a_decoder_s_folder_is_said(tmp_path, make, fault):
    save_decoder(tmp_path, make())
    damage(fault)(tmp_path)
    with pytest.raises(UserError, match=FAULTS.get(fault, "has no `features`")) as told:
        load(tmp_path)
    assert str(tmp_path) in str(told.value) and ("dvc repro" in str(told.value)) == (fault != "another kind")


@pytest.mark.parametrize("fault", [*FAULTS, "no preprocess", "an odd preprocess"])
@pytest.mark.parametrize("kind", ENCODERS)
def test_what_is_wrong_with_an_encoder_s_folder_is_said(tmp_path, kind, fault):
    network, preprocess, save, opened, _ = ENCODERS[kind]
    save(tmp_path, network, preprocess)
    damage(fault)(tmp_path)
    with pytest.raises(UserError, match=FAULTS.get(fault, "preprocess`")) as told:
        opened(tmp_path)
    assert str(tmp_path) in str(told.value) and ("dvc repro" in str(told.value)) == (fault != "another kind")


def test_an_image_tower_takes_its_own_weights_alone(tmp_path):
    network, preprocess, *_ = ENCODERS["clip"]
    save_clip(tmp_path, network, preprocess)
    found = {n: t for n, t in load_file(tmp_path / "model.safetensors").items() if n.startswith("visual.")}
    save_file(found, tmp_path / "model.safetensors")
    load_clip(tmp_path)
    with pytest.raises(UserError, match="weights are missing"):
        open_clip(tmp_path)
