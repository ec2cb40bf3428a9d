"""Decoders of a few weights, images that show a thing in a place, and their training."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from captioning.core import settings
from captioning.data.dataset import Data
from captioning.decoders.checkpoint import Decoder
from captioning.decoders.vocabulary import train_bpe, word_vocabulary
from captioning.features.store import FeatureStore, write_store
from captioning.training.decoder import DecoderData, train_decoder
from models.clipcap import ClipCap, ClipCapConfig
from models.gpt2 import GPT2, GPT2Config
from models.lstm import LSTMConfig, LSTMDecoder

ROOT = Path(__file__).parent.parent
THINGS, PLACES = (
    ["a dog runs", "two men sit", "a red car", "one cat sleeps"],
    ["in the park", "on a street", "outside"],
)
SIZE = len(THINGS) + len(PLACES)


def options(**changes) -> settings.TrainDecoderSettings:
    values = settings.read_yaml(ROOT / "params.yaml")["train_lstm"]
    small = {
        "epochs": 4, "batch_size": 4, "lr": 0.01, "label_smoothing": 0.0, "precision": "fp32", "patience": 10,
    }  # fmt: skip
    critic = {"epochs": 3, "batch_size": 4, "lr": 0.003, "samples": 4}
    return settings.TrainDecoderSettings.model_validate(values | small | {"self_critical": critic} | changes)


def scenes(folder: Path) -> tuple[Data, FeatureStore]:
    """Images that show a thing in a place, with noisy features of both."""
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
        folder / "features.h5",
        ids,
        ["0" * 64] * len(ids),
        {"encoder": "test"},
        (SIZE,),
        lambda part: features[part],
    )
    images = pd.DataFrame({"id": ids, "path": ids, "split": splits, "sha256": ""})
    captions = pd.DataFrame(rows, columns=["image_id", "caption", "tokens"])
    return Data(images, captions), FeatureStore.open(folder / "features.h5")


def train(
    kind: str, folder: Path, chosen: settings.TrainDecoderSettings, frozen: bool = False, dropout: bool = True
) -> None:
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
        text = train_bpe(flat, 290)
        gpt = GPT2(GPT2Config(vocab_size=text.size, n_embd=16, n_layer=1, n_head=2, n_positions=48))
        config = ClipCapConfig(SIZE, prefix_len=2, freeze_gpt2=frozen)
        sizes = config.to_dict() | {"gpt2": gpt.config.to_dict()}
        decoder = Decoder("clipcap", ClipCap(config, gpt), text, sizes, {})
    for module in decoder.model.modules():
        if isinstance(module, torch.nn.Dropout) and not dropout:
            module.p = 0.0
    everything = settings.load(ROOT / "params.yaml").model_copy(update={f"train_{kind}": chosen})
    train_decoder(
        f"train_{kind}",
        decoder,
        DecoderData(data, store, captions, 40),
        everything,
        standardize=kind == "lstm",
    )
