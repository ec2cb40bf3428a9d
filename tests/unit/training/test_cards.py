"""Checkpoint folders: a card that the hub reads, tied weights stored once, and features that do not fit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import metadata_load
from ruamel.yaml import YAML
from safetensors import safe_open

from captioning.core.errors import UserError
from captioning.decoders import kinds
from captioning.decoders.checkpoint import FEATURE_KEYS, Decoder, feature_identity, save_decoder
from captioning.decoders.vocabulary import word_vocabulary
from captioning.features.store import FeatureStore, write_store
from captioning.training.card import write_card
from models.clipcap import ClipCap, ClipCapConfig
from models.gpt2 import GPT2, GPT2Config

ROOT = Path(__file__).parents[3]
ATTRIBUTES = {
    "encoder": "clip vit/32", "layer": "image embedding", "weights": "0" * 64, "preprocessing": "resize 224",
    "normalization": "l2", "precision": "float32",
}  # fmt: skip


def clipcap() -> Decoder:
    text = word_vocabulary(["a dog runs on grass"], 1)
    gpt = GPT2(GPT2Config(vocab_size=text.size, n_embd=32, n_layer=1, n_head=2, n_positions=16))
    config = ClipCapConfig(8, "mlp", 2)
    sizes = config.to_dict() | {"gpt2": gpt.config.to_dict()}
    return Decoder("clipcap", ClipCap(config, gpt), text, sizes, feature_identity(ATTRIBUTES))


def test_a_card_has_valid_front_matter_and_all_that_made_the_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/statistics.json").write_text(
        '{"source": "scenes", "splits_from": "position", "splits": '
        '{"train": {"images": 1920, "captions": 9600}}}'
    )
    write_card(
        tmp_path, "ClipCap", "A captioner.", {"lr": 0.001}, {"dev_loss": 1.23456, "none": None}, ["clipcap"]
    )
    front = metadata_load(tmp_path / "README.md")
    assert (
        front["pipeline_tag"] == "image-to-text"
        and front["language"] == "en"
        and front["tags"] == ["clipcap"]
    )
    card = (tmp_path / "README.md").read_text()
    for part in ("# ClipCap", "1,920 images, 9,600 captions", '"lr": 0.001', "| dev_loss | 1.235 |"):
        assert part in card
    write_card(tmp_path, "CLIP", "An encoder.", {}, {}, ["clip"])
    assert "Not trained here" in (tmp_path / "README.md").read_text()


def test_tied_embeddings_are_stored_once_and_come_back_tied(tmp_path):
    decoder = clipcap()
    save_decoder(tmp_path, decoder)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert "gpt.lm_head.weight" not in file.keys() and "gpt.transformer.wte.weight" in file.keys()  # noqa: SIM118
    again = kinds.load(tmp_path)
    assert again.model.gpt.lm_head.weight is again.model.gpt.transformer.wte.weight
    for (name, ours), theirs in zip(
        decoder.model.state_dict().items(), again.model.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    again.model.train().loss(torch.ones(1, 8), torch.tensor([[[2, 3, 0]]])).mean.backward()
    with torch.no_grad():
        again.model.gpt.transformer.wte.weight -= again.model.gpt.transformer.wte.weight.grad
    assert torch.equal(again.model.gpt.lm_head.weight, again.model.gpt.transformer.wte.weight)


def store(path: Path, **changes: str) -> Path:
    rows = np.ones((2, 8), np.float16)
    write_store(
        path, ["a", "b"], ["1" * 64, "2" * 64], ATTRIBUTES | changes, (8,), lambda block: rows[list(block)]
    )
    return path


@pytest.mark.parametrize("key", FEATURE_KEYS)
def test_features_of_another_encoder_are_refused(tmp_path, key):
    save_decoder(tmp_path / "clipcap", clipcap())
    decoder = kinds.load(tmp_path / "clipcap")
    FeatureStore.open(store(tmp_path / "same.h5"), expect=decoder.features)
    FeatureStore.open(store(tmp_path / "gpu.h5", precision="bfloat16"), expect=decoder.features)
    with pytest.raises(UserError, match=f"{key} = 'other'.*belong to different encoders"):
        FeatureStore.open(store(tmp_path / "other.h5", **{key: "other"}), expect=decoder.features)


def test_artifacts_name_every_checkpoint_of_the_dag():
    dag = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())
    outs = [out for stage in dag["stages"].values() for out in stage.get("outs", [])]
    names = {out if isinstance(out, str) else next(iter(out)) for out in outs}
    checkpoints = {name for name in names if name.startswith("checkpoints/")}
    assert {artifact["path"] for artifact in dag["artifacts"].values()} == checkpoints
