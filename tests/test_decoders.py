"""Training a decoder on features: two phases with their scores, and a kill in either costs an epoch of one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from captioning.core import settings
from captioning.core.paths import checkpoint
from captioning.data.dataset import Data
from captioning.decoders.checkpoint import Decoder
from captioning.decoders.kinds import load
from captioning.decoders.vocabulary import train_bpe, word_vocabulary
from captioning.features.store import FeatureStore, write_store
from captioning.training.decoder import DecoderData, train_decoder
from models.clipcap import ClipCap, ClipCapConfig
from models.lstm import LSTMConfig, LSTMDecoder

ROOT = Path(__file__).parent.parent
THINGS, PLACES = ["a dog runs", "two men sit", "a red car", "one cat sleeps"], ["in the park", "on a street", "outside"]
SIZE = len(THINGS) + len(PLACES)


def options(**changes) -> settings.TrainDecoderSettings:
    values = settings.read_yaml(ROOT / "params.yaml")["train_lstm"]
    small = {"epochs": 4, "batch_size": 4, "lr": 0.01, "label_smoothing": 0.0, "precision": "fp32", "patience": 10}
    critic = {"epochs": 3, "batch_size": 4, "lr": 0.003, "samples": 4}
    return settings.TrainDecoderSettings.model_validate(values | small | {"self_critical": critic} | changes)


def scenes(folder: Path) -> tuple[Data, FeatureStore]:
    """Images that show a thing in a place; features say which, with noise."""
    rng, splits = np.random.default_rng(0), ["train"] * 24 + ["dev"] * 8
    what = [(int(rng.integers(len(THINGS))), int(rng.integers(len(PLACES)))) for _ in splits]
    ids = [f"image{i}" for i in range(len(splits))]
    features = 0.3 * rng.standard_normal((len(ids), SIZE))
    rows = []
    for i, (thing, place) in enumerate(what):
        features[i, [thing, len(THINGS) + place]] += 2
        for caption in (f"{THINGS[thing]} {PLACES[place]}", f"{THINGS[thing]}", f"there , {THINGS[thing]}"):
            rows.append((ids[i], f"{caption.capitalize()} .", caption.replace(" ,", "")))
    write_store(
        folder / "features.h5", ids, ["0" * 64] * len(ids), {"encoder": "test"}, (SIZE,), lambda part: features[part]
    )
    images = pd.DataFrame({"id": ids, "path": ids, "split": splits, "sha256": ""})
    captions = pd.DataFrame(rows, columns=["image_id", "caption", "tokens"])
    return Data(images, captions), FeatureStore.open(folder / "features.h5")


def train(kind: str, folder: Path, chosen: settings.TrainDecoderSettings) -> None:
    data, store = scenes(folder)
    tables = data.tokens if kind == "lstm" else data.references
    captions = {split: list(tables(split).values()) for split in ("train", "dev")}
    flat = [caption for of_image in captions["train"] for caption in of_image]
    torch.manual_seed(0)
    if kind == "lstm":
        text = word_vocabulary(flat, 1)
        config = LSTMConfig(text.size, SIZE, embed_dim=16, hidden_size=16, dropout=0.1)
        decoder = Decoder("lstm", LSTMDecoder(config), text, config.to_dict(), {})
    else:
        from transformers import GPT2Config, GPT2LMHeadModel

        text = train_bpe(flat, 290)
        gpt = GPT2LMHeadModel(GPT2Config(vocab_size=text.size, n_embd=16, n_layer=1, n_head=2, n_positions=48))
        config = ClipCapConfig(SIZE, prefix_len=2)
        sizes = config.to_dict() | {"gpt2": gpt.config.to_diff_dict()}
        decoder = Decoder("clipcap", ClipCap(config, gpt), text, sizes, {})
    everything = settings.load(ROOT / "params.yaml").model_copy(update={f"train_{kind}": chosen})
    train_decoder(
        f"train_{kind}", decoder, DecoderData(data, store, captions, 40), everything, standardize=kind == "lstm"
    )


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


SCRIPT = """
import sys; sys.path.insert(0, {tests!r}); sys.path.insert(0, {root!r})
from pathlib import Path
from test_decoders import options, train
train("lstm", Path.cwd(), options(ema=0.5))
"""


def test_kill_9_in_either_phase(tmp_path):
    def start(folder: str) -> subprocess.Popen:
        (tmp_path / folder).mkdir(exist_ok=True)
        script = SCRIPT.format(tests=str(ROOT / "tests"), root=str(ROOT))
        return subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path / folder, stdout=subprocess.PIPE)

    whole = start("whole")
    for name in ("resume.pt", "resume_2.pt"):
        victim = start("killed")
        deadline = time.monotonic() + 300
        while not (state := [*tmp_path.glob(f"killed/.work/states/*/{name}")]) and time.monotonic() < deadline:
            time.sleep(0.001)
        os.kill(victim.pid, signal.SIGKILL)
        printed = victim.communicate()[0].decode()
        assert victim.returncode == -signal.SIGKILL and state
    assert "epoch 1/4" not in printed, "an epoch was trained again"
    last = start("killed")
    printed = last.communicate()[0].decode()
    assert last.returncode == 0 and whole.communicate() and whole.returncode == 0
    assert printed.count("resumed from") == 2
    assert "/4  train_loss" not in printed, "cross-entropy was trained again"
    weights = [load_file(tmp_path / name / checkpoint("lstm") / "model.safetensors") for name in ("whole", "killed")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_without_epochs_the_weights_are_as_they_were(tmp_path):
    train("lstm", tmp_path, options(epochs=0, self_critical=options().self_critical.model_copy(update={"epochs": 0})))
    config = json.loads((checkpoint("lstm") / "config.json").read_text())
    assert config["dev_loss"] is None and config["dev_cider"] is None
    weights, (data, store) = load_file(checkpoint("lstm") / "model.safetensors"), scenes(tmp_path)
    assert weights["standardize.mean"].numpy() == pytest.approx(store.load(data.split("train")).mean(0), abs=1e-3)
    assert weights["output_bias"].count_nonzero() == 0
