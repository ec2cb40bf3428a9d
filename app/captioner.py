"""A trained captioner behind the encoder whose features it learned from: pictures in, captions out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from captioning.core import settings as schema
from captioning.core.device import seed_everything
from captioning.core.errors import UserError
from captioning.core.paths import CHECKPOINTS, ENCODER_OF
from captioning.core.paths import features as features_of
from captioning.core.pictures import ImageFault
from captioning.data.dataset import load_data
from captioning.decoders.checkpoint import Decoder, feature_identity, load
from captioning.features.encode import encode, images_at_once
from captioning.features.encoders import Encoder, load_clip, load_vgg16
from captioning.features.images import Preprocess
from captioning.features.pixels import ImageFiles
from captioning.features.store import FeatureStore
from captioning.search.base import Hypothesis
from captioning.search.consensus import best_captions, consensus_of
from captioning.search.diverse import distinct


@dataclass(frozen=True)
class Caption:
    """A caption, its score among a search's hypotheses, and the mean and the lowest probability of its tokens."""

    text: str
    score: float
    mean: float
    lowest: float

    @classmethod
    def of(cls, hypothesis: Hypothesis, text: str, length_penalty: float) -> Caption:
        logs = hypothesis.log_probs
        chances = [math.exp(log) for log in logs]
        return cls(text, sum(logs) / len(logs) ** length_penalty, sum(chances) / len(chances), min(chances))

    def row(self) -> dict[str, str | float]:
        return {"caption": self.text, "score": self.score, "mean": self.mean, "lowest": self.lowest}


class Readable(ImageFiles):
    """Files of which some may be no pictures: those are black, and `faults` holds their row and what is wrong."""

    def __init__(self, paths: Sequence[str | Path], preprocess: Preprocess) -> None:
        super().__init__(paths, preprocess)
        self.faults: dict[int, str] = {}

    def pixels(self, row: int) -> np.ndarray:
        try:
            return super().pixels(row)
        except ImageFault as fault:
            self.faults[row] = str(fault)
            side = self.preprocess.image_size
            return np.zeros((side, side, 3), np.uint8)


class PictureCaptioner:
    """What checkpoints/ holds of one kind of captioner. How captions are searched and drawn is `settings.generate`.

    Raises:
        UserError: nothing is trained, or by other features than the encoder in checkpoints/ makes.
    """

    def __init__(self, kind: str, settings: schema.Settings) -> None:
        self.settings, self.decoder = settings, load(CHECKPOINTS / kind)
        self.encoder, self.options = encoder_of(self.decoder, settings)
        self.decoder.model.to(self.encoder.device)
        self.consensus = None
        if settings.generate.consensus:
            store = FeatureStore.open(features_of(ENCODER_OF[kind]), expect=self.decoder.features)
            self.consensus = consensus_of(settings.generate, store, load_data(), self.decoder.text)

    def __call__(self, files: ImageFiles, count: int = 1) -> Iterator[list[Caption]]:
        """Of each picture, in order, the best caption by beam search and consensus, or `count` by `distinct`.

        Raises ImageFault at the first that is no usable image, after the captions of all before it.
        """
        seed_everything(self.settings.seed)
        size = images_at_once(self.encoder, self.options.batch_size)
        for rows, _ in encode(self.encoder, files, size, self.settings.machine.threads):
            features = torch.from_numpy(rows).half().float()  # (B, ...), as a feature store holds them
            yield from self._captions(features.to(self.encoder.device), count)

    def _captions(self, features: Tensor, count: int) -> list[list[Caption]]:
        model, text, options = self.decoder.model, self.decoder.text, self.settings.generate
        if count == 1:
            found = [[best] for best in best_captions(model, features, options, text, self.consensus)]
        else:
            found = distinct(model, features, options, text, count)
        penalty = options.length_penalty
        return [[Caption.of(one, text.decode(one.tokens), penalty) for one in of_image] for of_image in found]


def encoder_of(decoder: Decoder, settings: schema.Settings) -> tuple[Encoder, schema.ExtractSettings]:
    """The encoder in checkpoints/ whose features a captioner learned from, and its settings. Raises UserError."""
    learned = decoder.features
    if (source := learned.get("encoder", "")).startswith("imported from"):
        raise UserError(f"{CHECKPOINTS / decoder.kind} learned from features {source}: no encoder here makes them")
    if decoder.kind == "clipcap":
        options = settings.extract_clip
        encoder = load_clip(CHECKPOINTS / "clip", learned.get("normalization") == "l2", options.precision)
    else:
        options = settings.extract_vgg16
        encoder = load_vgg16(CHECKPOINTS / "vgg16", learned.get("layer", "fc7"), options.precision)
    made = feature_identity(encoder.attributes)
    for key in sorted({*learned, *made}):
        if learned.get(key) != made.get(key):
            raise UserError(
                f"{CHECKPOINTS / decoder.kind} learned from features whose {key} is {learned.get(key)!r}; the encoder "
                f"in {CHECKPOINTS}/ gives {made.get(key)!r}. `dvc repro` makes them fit"
            )
    return encoder, options
