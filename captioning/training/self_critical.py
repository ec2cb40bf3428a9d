"""Self-critical sequence training: a decoder learns from the scores of its own captions.

Captions are sampled from the decoder. Each becomes more probable in proportion to its reward above a baseline
(Rennie et al. 2017, https://arxiv.org/abs/1612.00563). The baseline is the mean reward of the image's other
samples (Luo 2020, https://arxiv.org/abs/2003.09971), so no further caption is decoded for it.

Samples and gradient use the same network, without dropout. Only the dropout of the image's features is on,
and it is drawn once for both. With another dropout mask the gradient would be another network's. Some samples
are improbable for that network, and nothing limits how improbable training makes them.

The reward is CIDEr-D with the document frequencies of the training references; the end of a caption counts as
a word: see `captioning.metrics.cider`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from captioning.core.errors import UserError
from captioning.data.ptb_fast import quick_tokenize, running
from captioning.decoders.checkpoint import Decoder
from captioning.decoders.vocabulary import Text
from captioning.metrics.cider import CiderD
from captioning.search.base import Hypothesis, Rules, evaluating, greedy
from captioning.search.sampling import FixedSampler, sample
from captioning.training.distributed import part
from captioning.training.graphs import Recorded
from models.losses import PAD
from models.packing import on_device

FEWEST = 100  # with fewer dev images, the training references give the document frequencies


class SelfCritical:
    """The batches (`prepare`) and the loss of a phase of training.

    Args:
        references: for each training image its references, as PTB tokens separated by blanks.
        samples: captions sampled per image, 2 or more.
        max_tokens: the longest sampled caption, end-of-text included.
        fixed: sample in steps of fixed shapes, and pack captions in a few sizes, so that a GPU can record
            sampling and loss. None: on a GPU, if the network packs captions.
    """

    def __init__(
        self,
        decoder: Decoder,
        references: Sequence[Sequence[str]],
        samples: int,
        max_tokens: int = 40,
        fixed: bool | None = None,
    ) -> None:
        self.model, self.text, self.samples = decoder.model, decoder.text, samples
        self.rules = Rules(max_tokens=max_tokens, eos_id=self.text.eos_id, banned_ids=self.text.banned_ids)
        self.fixed, self.sampler = fixed, None
        self.sizes: dict[tuple[int, ...], Any] = {}  # shape of captions: the largest packing of that shape
        self.references = references
        self.reward = CiderD(references, count_end=True)
        if self.reward.says_nothing(references):
            raise UserError(
                f"train_{decoder.kind}.self_critical: every caption of the {len(references)} training images "
                "has CIDEr-D 0. CIDEr-D weighs a word by how few images have it, and here all images have "
                f"the same words. Train on more images, or set train_{decoder.kind}.self_critical.epochs to 0"
            )

    def chances(self, seed: int, epoch: int, images: np.ndarray) -> Tensor:
        """Random numbers (B, C, T) of the images' samples: they depend only on seed, epoch and image."""
        size = self.samples, self.rules.max_tokens
        drawn = [np.random.default_rng([seed, epoch, image]).random(size, np.float32) for image in images]
        return torch.from_numpy(np.stack(drawn))

    def prepare(
        self, features: Tensor, images: np.ndarray, chances: Tensor
    ) -> tuple[Tensor, Any, Tensor, Tensor]:
        """Samples captions of images and scores them: the batch that `loss` takes.

        Args:
            features: (B, ...) of the images.
            images: (B,) their positions in `references`.
            chances: (B, C, T) the random numbers of the samples.
        """
        features = self.model.standardize.drop(features)
        if self.fixed is None:
            self.fixed = features.device.type == "cuda" and hasattr(self.model, "packing")
        captions = (self._fixed_samples if self.fixed else self._samples)(features, chances)  # (B, C, T)
        torch.clear_autocast_cache()  # drops weights that were cast without gradients
        said = tokens_of(self.text, captions.tolist())
        rewards = torch.tensor(
            [
                self.reward.scores(self.references[image], of_image)
                for image, of_image in zip(images, said, strict=True)
            ]
        )  # (B, C)
        advantages = (rewards - rewards.mean(dim=1, keepdim=True)) * self.samples / (self.samples - 1)
        if self.fixed:
            captions = self._packed(captions.numpy(), advantages.numpy())
        return features, *on_device((captions, advantages, rewards), features.device)

    def _samples(self, features: Tensor, chances: Tensor) -> Tensor:
        """Captions (B, C, T) in the form that `loss` takes, on the processor."""
        found = sample(self.model, features, self.rules, self.samples, chances=chances)
        return as_tensor(found, self.rules.eos_id)

    def _fixed_samples(self, features: Tensor, chances: Tensor) -> Tensor:
        """The same; T is one of a few lengths."""
        if self.sampler is None:
            record = [Recorded] * (features.device.type == "cuda")
            self.sampler = FixedSampler(self.model, self.rules, self.samples, features.device, *record)
        tokens = self.sampler(features, chances).cpu()
        return tokens.masked_fill((tokens == self.rules.eos_id).cumsum(dim=2) > 1, PAD)

    def _packed(self, captions: np.ndarray, weights: np.ndarray) -> NamedTuple:
        """Packs captions (B, C, T) as for a GPU, padded to the largest size that this shape can need."""
        index = np.arange(len(captions))
        if captions.shape not in self.sizes:
            distinct = np.arange(captions.size).reshape(captions.shape)
            self.sizes[captions.shape] = self.model.packing(distinct, True).size(index)
        return self.model.packing(captions, True).pack(index, weights, self.sizes[captions.shape])

    def loss(self, features: Tensor, captions: Any, advantages: Tensor, rewards: Tensor) -> Tensor:
        """Minus the mean reward of samples. Its gradient is the policy gradient.

        Args:
            features: (B, ...) after their dropout.
            captions: (B, C, T), padded with -100; or a packed batch, which includes the advantages.
            advantages, rewards: (B, C) of the captions.
        """
        with evaluating(self.model):
            found = self.model.loss(features, captions, weights=advantages)
        surrogate = part(found.mean, found.tokens)
        return surrogate + (part(-rewards.mean(), rewards.numel()) - surrogate).detach()


class GreedyCider:
    """The CIDEr of a decoder's greedy captions, as in the final scores.

    Args:
        references: for each dev image its references, as PTB tokens separated by blanks.
        train: the references of the training images. They give the document frequencies if dev has fewer than
            FEWEST images. With a single image all n-grams are equally common, and every caption would score
            0.
        max_tokens: the longest caption, end-of-text included.
    """

    def __init__(
        self,
        decoder: Decoder,
        references: Sequence[Sequence[str]],
        train: Sequence[Sequence[str]] = (),
        max_tokens: int = 40,
    ) -> None:
        self.model, self.text, self.max_tokens = decoder.model, decoder.text, max_tokens
        self.references = references
        running()  # reports a missing Java before training
        self.cider = CiderD(train if len(references) < min(FEWEST, len(train)) else references)
        if self.cider.says_nothing(references):
            print("note: dev_cider is always 0 here, since no word of the references is rarer than another")

    def of(self, batches: Iterable[Tensor]) -> float:
        """The mean over all images. `batches` are their features (B, ...), in the order of the references."""
        text = self.text
        rules = Rules(max_tokens=self.max_tokens, eos_id=text.eos_id, banned_ids=text.banned_ids)
        found = [one for features in batches for one in greedy(self.model, features, rules)]
        said = tokens_of(text, [[one.tokens for one in of_image] for of_image in found])
        scores = [self.cider.scores(*image)[0] for image in zip(self.references, said, strict=True)]
        return sum(scores) / len(scores)


def tokens_of(text: Text, captions: Sequence[Sequence[Sequence[int]]]) -> list[list[str]]:
    """Returns the PTB tokens of each image's captions, given as token ids; ends and padding are skipped."""
    ends = {text.eos_id, PAD}
    words = [[token for token in one if token not in ends] for of_image in captions for one in of_image]
    tokens = iter(quick_tokenize([text.decode(one) for one in words]))
    return [[next(tokens) for _ in of_image] for of_image in captions]


def as_tensor(found: Sequence[Sequence[Hypothesis]], eos_id: int) -> Tensor:
    """Captions (B, C, T) in the form that `loss` takes; a caption that was cut has no end-of-text token."""
    rows = [[one.tokens + [eos_id] * one.ended for one in of_image] for of_image in found]
    captions = torch.full(
        (len(rows), len(rows[0]), max(len(row) for of_image in rows for row in of_image)), PAD
    )
    for i, of_image in enumerate(rows):
        for j, row in enumerate(of_image):
            captions[i, j, : len(row)] = torch.tensor(row)
    return captions
