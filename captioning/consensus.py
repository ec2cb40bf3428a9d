"""Of the captions that a search found for an image, the one that similar training images' captions agree on most.

A decoder's own probabilities prefer what may be said of many images. What people said of the nearest training images
is a second opinion, from outside the decoder: captions are ranked by their score plus `weight` times their mean CIDEr-D
against those (Mao et al. 2015, https://arxiv.org/abs/1412.6632; Devlin et al. 2015, https://arxiv.org/abs/1505.04467,
take a caption of the nearest images themselves, the one that the others agree with).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from captioning.beams import beam_search, rules_of
from captioning.cider_d import CiderD
from captioning.datasets import Data
from captioning.decoding import Decoder, Hypothesis
from captioning.features import FeatureStore
from captioning.quick_tokens import quick_tokenize
from captioning.settings import Generate
from captioning.text import Text
from models.standardize import Standardize

BLOCK = 1024  # training images at once, in float32


class Consensus:
    """The training images, by whose captions others are judged.

    Args:
        features: of the training images, float16 (N, D), or (N, H, W, D), of which the mean over the grid is taken.
        references: for each of them its captions, as PTB tokens separated by blanks.
        neighbours: training images that are asked about an image; the nearest by the cosine of standardized features.
        weight: of their CIDEr-D, 0 to 10, beside a caption's score.
    """

    def __init__(
        self, features: np.ndarray, references: Sequence[Sequence[str]], text: Text, neighbours: int, weight: float
    ) -> None:
        self.references, self.text, self.weight = references, text, weight
        self.neighbours = min(neighbours, len(references))
        self.cider = CiderD(references)
        parts = [_pooled(part) for part in torch.from_numpy(features).split(BLOCK)]
        self.standardize = Standardize(features.shape[-1]).fit(torch.cat(parts))
        self.train = [self._directions(part).half() for part in parts]  # (N, D) in parts

    @torch.inference_mode()
    def nearest(self, features: Tensor) -> list[list[int]]:
        """Of images (B, ...) the training images most like each, the nearest first, as they stand in `references`."""
        asked = self._directions(_pooled(features.cpu()))  # (B, D)
        alike = torch.cat([asked @ part.float().T for part in self.train], dim=1)  # (B, N)
        return alike.topk(self.neighbours).indices.tolist()

    def best(self, features: Tensor, found: Sequence[Sequence[Hypothesis]]) -> list[Hypothesis]:
        """Of each image (B, ...) the one of its captions that is ranked first."""
        return [
            self._best([caption for other in others for caption in self.references[other]], captions)
            for others, captions in zip(self.nearest(features), found, strict=True)
        ]

    def _best(self, references: list[str], captions: Sequence[Hypothesis]) -> Hypothesis:
        agreed = self.cider.scores(references, [quick_tokenize(self.text.decode(one.tokens)) for one in captions])
        ranked = [one.score + self.weight * value for one, value in zip(captions, agreed, strict=True)]
        return captions[int(np.argmax(ranked))]  # among equals the one that the search prefers

    def _directions(self, features: Tensor) -> Tensor:
        return F.normalize(self.standardize(features.float()), dim=1)


def consensus_of(options: Generate, store: FeatureStore, data: Data, text: Text) -> Consensus | None:
    """What the settings ask for; None where no neighbour is asked."""
    if not options.consensus.neighbours:
        return None
    references = {image: captions for image, captions in data.tokens("train").items() if captions}
    features = store.load(list(references))
    return Consensus(features, list(references.values()), text, **options.consensus.model_dump())


def best_captions(
    model: Decoder, features: Tensor, options: Generate, text: Text, consensus: Consensus | None
) -> list[Hypothesis]:
    """The caption of each image (B, ...) by beam search, and by consensus where there is one."""
    found = beam_search(model, features, **rules_of(options, text))
    return [captions[0] for captions in found] if consensus is None else consensus.best(features, found)


def _pooled(features: Tensor) -> Tensor:
    """(B, D), or the mean over the grid of (B, H, W, D)."""
    return features if features.ndim == 2 else features.flatten(1, -2).float().mean(1)
