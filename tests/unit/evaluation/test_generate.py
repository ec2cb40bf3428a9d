"""The output of stage generate, for one decoder and for an ensemble, with and without diverse captions."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from captioning.core import settings
from captioning.decoders.checkpoint import Decoder, feature_identity, save_decoder
from captioning.decoders.vocabulary import word_vocabulary
from captioning.features.store import write_store
from models.lstm import LSTMConfig, LSTMDecoder
from stages import generate

ROOT = Path(__file__).parents[3]
CAPTIONS = ["a dog runs on the grass", "two birds sit", "a red car"]
IMAGES, ATTRIBUTES = [f"im{n}" for n in range(10)], {"encoder": "vgg16", "layer": "fc7", "weights": "0" * 64}


def save_lstm(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    text = word_vocabulary(CAPTIONS, 1)
    config = LSTMConfig(text.size, 8, embed_dim=16, hidden_size=16)
    model = LSTMDecoder(config)
    model.embedding.weight.data *= 10  # several different captions
    save_decoder(folder, Decoder("lstm", model, text, config.to_dict(), feature_identity(ATTRIBUTES)))


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder as the earlier stages leave it, and the current folder."""
    monkeypatch.chdir(tmp_path)
    for folder in ("data", "features", "captions"):
        (tmp_path / folder).mkdir()
    rows = "".join(f"{image},x,test,0\n" for image in IMAGES)
    (tmp_path / "data/images.csv").write_text("id,path,split,sha256\n" + rows)
    (tmp_path / "data/captions.csv").write_text("image_id,caption,tokens\nim0,a,a\n")
    features = np.random.default_rng(0).normal(size=(10, 8)).astype(np.float16)
    write_store(
        tmp_path / "features/vgg16.h5", IMAGES, ["1" * 64] * 10, ATTRIBUTES, (8,), lambda rows: features[rows]
    )
    save_lstm(tmp_path / "checkpoints/lstm", 0)
    save_lstm(tmp_path / "checkpoints/lstm-1", 1)
    return tmp_path


def caption(project: Path, monkeypatch, **changes) -> dict[str, list | dict]:
    """Runs the stage with other settings of `generate` and returns its output."""
    values = settings.read_yaml(ROOT / "params.yaml")
    values["generate"] |= {"batch_size": 4, "beam_size": 3} | changes
    with open(project / "params.yaml", "w") as file:
        YAML().dump(values, file)
    monkeypatch.setattr(sys, "argv", ["generate", "lstm"])
    generate.main()
    names = ("lstm", "lstm_diverse", "lstm_details", "lstm_weights")
    return {name: json.loads((project / f"captions/{name}.json").read_text()) for name in names}


def diverse(**changes) -> dict:
    return settings.read_yaml(ROOT / "params.yaml")["generate"]["diverse"] | changes


def test_sets_are_of_the_size_asked_for_and_leave_the_best_caption_alone(project, monkeypatch):
    drawn = caption(project, monkeypatch, diverse=diverse(method="nucleus", captions=3))
    searched = caption(project, monkeypatch, diverse=diverse(method="beams", captions=3))
    none = caption(project, monkeypatch, diverse=diverse(captions=0))
    assert drawn["lstm"] == searched["lstm"] == none["lstm"] and drawn["lstm_details"] == none["lstm_details"]
    assert [entry["image_id"] for entry in none["lstm"]] == IMAGES and none["lstm_diverse"] == []
    for found in (drawn, searched):
        assert [entry["image_id"] for entry in found["lstm_diverse"]] == IMAGES
        assert {len(entry["captions"]) for entry in found["lstm_diverse"]} == {3}
    first = [entry["captions"][0] for entry in searched["lstm_diverse"]]
    assert first == [entry["caption"] for entry in none["lstm"]], "the first group of beams is beam search"
    again = caption(project, monkeypatch, diverse=diverse(method="nucleus", captions=3))
    assert again == drawn, "drawn by the seed"


def test_an_ensemble_is_used_and_named(project, monkeypatch, capsys):
    alone = caption(project, monkeypatch)
    assert list(alone["lstm_weights"]) == ["checkpoints/lstm"]
    both = caption(project, monkeypatch, ensemble={"lstm": ["checkpoints/lstm-1"], "clipcap": []})
    assert list(both["lstm_weights"]) == ["checkpoints/lstm", "checkpoints/lstm-1"]
    assert both["lstm_weights"]["checkpoints/lstm"] == alone["lstm_weights"]["checkpoints/lstm"]
    assert both["lstm"] != alone["lstm"] and "2 decoders, their" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="nowhere is not a checkpoint folder"):
        caption(project, monkeypatch, ensemble={"lstm": ["nowhere"], "clipcap": []})


def test_consensus_chooses_among_the_beams_captions(project, monkeypatch):
    with open(project / "data/images.csv", "a") as file:
        file.writelines(f"im1{n},x,train,0\n" for n in range(3))
    with open(project / "data/captions.csv", "a") as file:
        file.writelines(f"im1{n},{caption},{caption}\n" for n, caption in enumerate(CAPTIONS))
    ids, features = (
        [*IMAGES, "im10", "im11", "im12"],
        np.random.default_rng(0).normal(size=(13, 8)).astype(np.float16),
    )
    write_store(
        project / "features/vgg16.h5", ids, ["1" * 64] * 13, ATTRIBUTES, (8,), lambda rows: features[rows]
    )
    search = {"max_tokens": 4, "no_repeat_ngram": 1, "beam_size": 8}
    alone = caption(project, monkeypatch, **search)
    asked = caption(project, monkeypatch, **search, consensus=100.0)
    assert asked["lstm"] != alone["lstm"]
    assert asked["lstm_diverse"] == alone["lstm_diverse"]
    for entry, told in zip(asked["lstm"], asked["lstm_details"], strict=True):
        assert "".join(told["tokens"]).strip() == entry["caption"], "the details are of the chosen caption"


def test_no_repeat_ngram_reaches_the_search(project, monkeypatch):
    for entry in caption(project, monkeypatch, no_repeat_ngram=1)["lstm"]:
        words = entry["caption"].split()
        assert len(set(words)) == len(words)
