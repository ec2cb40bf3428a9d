"""A project with both captioners, small and untrained: checkpoints, features and data, as the stages write
them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from small_data import ROOT

from captioning.core import settings
from captioning.decoders.checkpoint import Decoder, feature_identity, save_decoder
from captioning.decoders.clipcap import fresh_clipcap
from captioning.decoders.vocabulary import word_vocabulary
from captioning.features.encode import encode
from captioning.features.encoders import load_encoder, save_clip, save_vgg16
from captioning.features.images import clip_preprocess, vgg16_preprocess
from captioning.features.pixels import ImageFiles
from captioning.features.store import write_store
from models import clip, vgg16
from models.lstm import LSTMConfig, LSTMDecoder

WORDS = (
    "a man in the red shirt runs on grass with two black dogs while some children watch them near water"
).split()
CAPTIONS = [" ".join(WORDS[i % 7 : i % 7 + 4 + i % 5]) for i in range(24)]
SETTINGS = settings.load(ROOT / "params.yaml")


def photos(folder: Path, count: int = 4) -> list[Path]:
    """Photographs of noise, each with its own colour."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i}.png" for i in range(count)]
    for i, path in enumerate(paths):
        noise = np.random.default_rng(i).integers(0, 255, (40, 50, 3), dtype=np.uint8)
        noise[..., i % 3] //= 4
        Image.fromarray(noise).save(path)
    return paths


def project(folder: Path, layer: str = "fc7") -> Path:
    """Writes pictures/, data/, features/ and checkpoints/ of eight training images, but no params.yaml."""
    torch.manual_seed(0)
    checkpoints, ids, pictures = (
        folder / "checkpoints",
        [f"image{i}" for i in range(8)],
        photos(folder / "pictures", 8),
    )
    sizes = clip.CLIPConfig(24, 64, (1, 1, 1, 1), 16, None, 24, 1000, 64, 1)
    save_clip(checkpoints / "clip", clip.build(sizes), clip_preprocess(64))
    network = vgg16.VGG16(vgg16.VGG16Config(64, 0.0625, batch_norm=True, num_labels=7))
    save_vgg16(checkpoints / "vgg16", network, vgg16_preprocess(64))
    (folder / "data").mkdir()
    images = pd.DataFrame({"id": ids, "path": pictures, "split": "train", "sha256": "0"})
    images.to_csv(folder / "data/images.csv", index=False)
    captions = pd.DataFrame({"image_id": ids * 3, "caption": CAPTIONS, "tokens": CAPTIONS})
    captions.to_csv(folder / "data/captions.csv", index=False)
    (folder / "features").mkdir()
    for name, decoder, made in (
        ("vgg16", lstm, {"layer": layer}),
        ("clip", clipcap, {"normalization": "l2"}),
    ):
        encoder = load_encoder(checkpoints / name, made, "fp32")
        parts = [part for part, _ in encode(encoder, ImageFiles(pictures, encoder.preprocess), 8, 1)]
        rows = np.concatenate(parts).astype(np.float16)
        path = folder / f"features/{name}.h5"
        write_store(path, ids, ["0" * 64] * 8, encoder.attributes, rows.shape[1:], rows.__getitem__)
        learned = decoder(rows.shape[1:], feature_identity(encoder.attributes))
        learned.model.standardize.fit(torch.from_numpy(rows))
        # So that captions differ; new networks' captions hardly do.
        for parameter in learned.model.parameters():
            parameter.data *= 2
        save_decoder(checkpoints / learned.kind, learned)
    return folder


def lstm(shape: tuple[int, ...], features: dict[str, str]) -> Decoder:
    text = word_vocabulary(CAPTIONS, 1)
    config = LSTMConfig(text.size, shape[-1], len(shape) == 3, embed_dim=16, hidden_size=16, attention_dim=8)
    return Decoder("lstm", LSTMDecoder(config), text, config.to_dict(), features)


def clipcap(shape: tuple[int, ...], features: dict[str, str]) -> Decoder:
    small = SETTINGS.model.scratch.model_copy(update={"vocab_size": 300, "width": 24, "heads": 2})
    options = SETTINGS.model.model_copy(update={"prefix_len": 2, "scratch": small})
    return fresh_clipcap(options, CAPTIONS, shape[0], features)


def edit_params(folder: Path, edits: dict[str, str]) -> None:
    """Writes the committed params.yaml with some of its text replaced."""
    text = (ROOT / "params.yaml").read_text()
    for old, new in edits.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "params.yaml").write_text(text)
