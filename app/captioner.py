"""A trained captioner with the encoder of its features: takes pictures, returns captions.

from app import load_captioner

captioner = load_captioner("checkpoints/clipcap")
for caption in captioner(["a.jpg", Image.open("b.png")]):
    print(caption.caption, caption.score, caption.lowest)
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from app import folder as folders
from captioning.core import paths
from captioning.core.device import seed_everything
from captioning.core.errors import UserError
from captioning.core.pictures import ImageFault, as_rgb
from captioning.decoders.checkpoint import Decoder, feature_identity
from captioning.decoders.ensemble import with_others
from captioning.decoders.kinds import load
from captioning.decoders.vocabulary import Text
from captioning.features.encode import encode, images_at_once
from captioning.features.encoders import Encoder, load_encoder
from captioning.features.images import Preprocess, decode, transform
from captioning.features.pixels import ImageFiles
from captioning.search.base import Hypothesis
from captioning.search.consensus import best_captions
from captioning.search.diverse import distinct
from captioning.search.explain import pieces

Picture = str | Path | bytes | Image.Image  # the path of a file, its bytes, or what Pillow opened


class Token(NamedTuple):
    """A piece of a caption, and its probability given the picture and the pieces before it."""

    text: str
    probability: float


@dataclass(frozen=True)
class Caption:
    """A caption and how sure the captioner is of it.

    Attributes:
        score: log-probability / tokens ** generate.length_penalty, by which a search ranks captions.
        mean, lowest: mean and lowest probability of the tokens.
        tokens: their texts joined give the caption. The last is the end token, with an empty text, unless the
            caption was cut at its maximum length.
    """

    caption: str
    score: float
    mean: float
    lowest: float
    tokens: tuple[Token, ...] = ()

    @classmethod
    def of(cls, hypothesis: Hypothesis, text: Text, length_penalty: float) -> Caption:
        """The caption of a search's result. Its score is the log-probability / tokens ** length_penalty."""
        logs = hypothesis.log_probs
        chances = [math.exp(log) for log in logs]
        said = [*pieces(text, hypothesis.tokens), *([""] if hypothesis.ended else [])]
        return cls(
            text.decode(hypothesis.tokens),
            score=sum(logs) / len(logs) ** length_penalty,
            mean=sum(chances) / len(chances),
            lowest=min(chances),
            tokens=tuple(map(Token, said, chances)),
        )

    def row(self) -> dict[str, str | float]:
        return {"caption": self.caption, "score": self.score, "mean": self.mean, "lowest": self.lowest}


class Given(ImageFiles):
    """Pictures in any form. Those that Pillow opened are read at once, in the caller's thread."""

    def __init__(self, pictures: Sequence[Picture], preprocess: Preprocess) -> None:
        numbered = enumerate(pictures)
        names = [str(one) if isinstance(one, str | Path) else f"picture {i}" for i, one in numbered]
        super().__init__(names, preprocess)
        named = zip(pictures, names, strict=True)
        self.sources = [as_rgb(one, name) if isinstance(one, Image.Image) else one for one, name in named]

    def pixels(self, row: int) -> np.ndarray:
        source = self.sources[row]
        if isinstance(source, Image.Image):
            return transform(source, self.preprocess)
        return decode(source, self.preprocess, self.paths[row])


class Readable(ImageFiles):
    """Pictures read from files. Unusable files become black; `faults` maps their row to the reason."""

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


class Captioner:
    """A captioner from an exported folder (`commands.export`), or from a project's checkpoints.

    The search settings come from the exported folder or from the project's params.yaml. Where there is
    neither, the defaults apply.

    Attributes:
        folder: the captioner's folder.
        decoder, encoder: the networks; `decoder.kind` is clipcap or lstm.
        model: the decoder's network, joined with those of the project's `generate.ensemble`.
        how: seed, `generate` and `extract`.

    Raises:
        UserError: there is no such captioner, or the encoder is not the one that it was trained with.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = folder = Path(folder).expanduser()
        self.decoder = load(folder)
        self.how = folders.How.of(folder, self.decoder.kind)
        self.encoder = _encoder(folder, self.decoder, self.how.extract.precision)
        self.model = with_others(self.decoder, self._others()).to(self.encoder.device)
        self.consensus = folders.consensus(folder, self.decoder, self.how.generate.consensus)

    def _others(self) -> list[Path]:
        """The folders of `generate.ensemble`, if this is the decoder that the pipeline joins with them."""
        project, kind = folders.project_of(self.folder), self.decoder.kind
        if self.folder.resolve() != (project / paths.checkpoint(kind)).resolve():
            return []
        return [project / other for other in getattr(self.how.generate.ensemble, kind)]

    def __call__(self, pictures: Sequence[Picture]) -> list[Caption]:
        """The best caption of each picture, in order. Raises ImageFault at the first unusable picture."""
        return [best for [best] in self.each(Given(pictures, self.encoder.preprocess))]

    def several(self, pictures: Sequence[Picture], count: int) -> list[list[Caption]]:
        """`count` different captions per picture, by `captioning.search.diverse.distinct`.

        Raises ImageFault.
        """
        return list(self.each(Given(pictures, self.encoder.preprocess), count))

    def each(self, files: ImageFiles, count: int = 1) -> Iterator[list[Caption]]:
        """Yields each picture's captions, in order, as soon as they are ready.

        Yields the best caption by beam search and consensus, or `count` captions if given. Raises ImageFault
        at the first unusable image, after the captions of all images before it.
        """
        seed_everything(self.how.seed)
        size = images_at_once(self.encoder, self.how.extract.batch_size)
        for rows, _ in encode(self.encoder, files, size, os.cpu_count() or 1):
            features = torch.from_numpy(rows).half().float()  # (B, ...), the same shape as in a feature store
            yield from self._captions(features.to(self.encoder.device), count)

    def _captions(self, features: Tensor, count: int) -> list[list[Caption]]:
        model, text, options = self.model, self.decoder.text, self.how.generate
        if count == 1:
            found = [[best] for best in best_captions(model, features, options, text, self.consensus)]
        else:
            found = distinct(model, features, options, text, count)
        return [[Caption.of(one, text, options.length_penalty) for one in of_image] for of_image in found]


def _encoder(folder: Path, decoder: Decoder, precision: str) -> Encoder:
    """The encoder that the captioner was trained with. Raises UserError for a missing or another one."""
    learned = decoder.features
    if (source := learned.get("encoder", "")).startswith("imported from"):
        raise UserError(f"{folder} learned from features {source}: no encoder here makes them")
    place = folders.encoder_of(folder, decoder.kind)
    encoder = load_encoder(place, learned, precision)
    made = feature_identity(encoder.attributes)
    for key in sorted({*learned, *made}):
        if learned.get(key) != made.get(key):
            raise UserError(
                f"{folder} learned from features whose {key} is {learned.get(key)!r}; the encoder in {place} "
                f"gives {made.get(key)!r}. Run `dvc repro` to make them fit"
            )
    return encoder
