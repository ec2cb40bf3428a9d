"""Training a decoder on features: two phases with their scores."""

import json

import pytest
from safetensors.torch import load_file
from small_decoders import options, scenes, train

from captioning.core.paths import checkpoint
from captioning.decoders.kinds import load


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", ["lstm", "clipcap"])
def test_two_phases_and_what_is_written_of_them(tmp_path, kind, capsys):
    train(kind, tmp_path, options(ema=0.5, monitor="cider"))
    config = json.loads((checkpoint(kind) / "config.json").read_text())
    curve = (tmp_path / f"live/train_{kind}/plots/metrics/dev_cider.tsv").read_text().splitlines()[1:]
    scores = [float(line.split("\t")[1]) for line in curve]
    assert len(scores) == 7 and config["dev_cider"] == pytest.approx(max(scores)) and config["dev_loss"] > 0
    rewards = (tmp_path / f"live/train_{kind}/plots/metrics/negative_reward.tsv").read_text().splitlines()[1:]
    assert len(rewards) == 3 and all(float(line.split("\t")[1]) < 0 for line in rewards)
    assert "| dev_cider |" in (checkpoint(kind) / "README.md").read_text()
    assert config["training"]["self_critical"]["samples"] == 4
    load(checkpoint(kind))
    assert f"train_{kind}.self_critical: begins with" in capsys.readouterr().out
    assert not [path for path in checkpoint(kind).iterdir() if path.name.startswith((".", "resume"))]
    assert not list(tmp_path.glob(".work/states/*"))


def test_without_epochs_the_weights_are_as_they_were(tmp_path):
    train(
        "lstm",
        tmp_path,
        options(epochs=0, self_critical=options().self_critical.model_copy(update={"epochs": 0})),
    )
    config = json.loads((checkpoint("lstm") / "config.json").read_text())
    assert config["dev_loss"] is None and config["dev_cider"] is None
    weights, (data, store) = load_file(checkpoint("lstm") / "model.safetensors"), scenes(tmp_path)
    assert weights["standardize.mean"].numpy() == pytest.approx(
        store.load(data.split("train")).mean(0), abs=1e-3
    )
    assert weights["output_bias"].count_nonzero() == 0
