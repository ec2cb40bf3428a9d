"""Features and captions of one split in memory, and batches of them without per-item Python.

A batch is a set of images, each with all its captions: `features (B, ...)`, `captions (B, C, T)` padded with -100.
Images whose captions have about the same number of tokens share a batch, so that little of it is padding.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from models.losses import PAD

CHUNK = 16  # batches that are sorted by length together


class CaptionBatches:
    """The images of a split with features and encoded captions.

    Args:
        features: (N, D) or (N, H, W, D), float16 as stored; a batch is float32.
        captions: for each of the N images the token ids of each of its captions.
        batch_size: images in a batch.
        seed: of the order in which `epoch` visits the images.
        device: where the batches are wanted. Features and captions live there when they fit.
    """

    def __init__(
        self, features: np.ndarray, captions: list[list[list[int]]], batch_size: int, seed: int, device: torch.device
    ) -> None:
        assert len(features) == len(captions)
        rows = max(len(of_image) for of_image in captions)
        longest = max(len(caption) for of_image in captions for caption in of_image)
        tokens = np.full((len(captions), rows, longest), PAD, np.int32)
        for i, of_image in enumerate(captions):
            for j, caption in enumerate(of_image):
                tokens[i, j, : len(caption)] = caption
        self.features, self.tokens = torch.from_numpy(features), torch.from_numpy(tokens)
        self.lengths = (tokens != PAD).sum(axis=2)  # (N, C)
        self.batch_size, self.seed, self.device = batch_size, seed, device
        if (
            device.type == "cuda"
            and _size(self.features) + _size(self.tokens) < torch.cuda.mem_get_info(device)[0] // 4
        ):
            self.features, self.tokens = self.features.to(device), self.tokens.to(device)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self.steps(self.batch_size)

    def steps(self, batch_size: int) -> int:
        """Batches of another size in an epoch."""
        return -(-len(self.features) // batch_size)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images once, in an order that depends on the seed and the epoch's number alone."""
        for index in self.order(number, self.batch_size):
            yield self.take(index)

    def order(self, number: int, batch_size: int) -> Iterator[np.ndarray]:
        """Which images the batches of an epoch have, for batches of any size."""
        rng = np.random.default_rng([self.seed, number])
        order = rng.permutation(len(self.features))
        totals = self.lengths.sum(axis=1)
        size = batch_size * CHUNK
        chunks = [order[i : i + size] for i in range(0, len(order), size)]
        order = np.concatenate([chunk[np.argsort(totals[chunk], kind="stable")] for chunk in chunks])
        for start in rng.permutation(np.arange(0, len(order), batch_size)):
            yield order[start : start + batch_size]

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All images once, in the order given: for scores, not for training."""
        for start in range(0, len(self.features), self.batch_size):
            yield self.take(np.arange(start, min(start + self.batch_size, len(self.features))))

    def take(self, index: np.ndarray) -> tuple[Tensor, Tensor]:
        """Features (B, ...) float32 and captions (B, C, T) int64 of the images at `index`."""
        lengths = self.lengths[index]
        rows, longest = int((lengths > 0).sum(axis=1).max()), int(lengths.max())
        where = torch.from_numpy(index).to(self.features.device, non_blocking=True)
        features, tokens = self.features[where], self.tokens[where, :rows, :longest]
        features, tokens = (x.to(self.device, non_blocking=True) for x in (features, tokens))
        return features.float(), tokens.long()  # widened where they are wanted


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
