"""The features and captions of one split in memory, and fast batches of them.

A batch is a set of images with all their captions: `features (B, ...)` and `captions (B, C, T)`. Captions are
padded with -100, or packed by the network that learns from them (`models.packing`). Images whose captions
have about the same number of tokens share a batch, so there is little padding.

On a GPU, packed batches come in a few sizes, so that steps can be recorded (`captioning.training.graphs`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from captioning.core.device import fits_on
from captioning.training.distributed import share
from models.losses import PAD
from models.packing import Packing, on_device

CHUNK = 16  # batches that are sorted by length together
SEEN = 3  # epochs whose batches determine the sizes
PADDING = 0.12  # allowed share of padding in the work of those epochs


class CaptionBatches:
    """The images of a split with features and encoded captions.

    Args:
        features: (N, D) or (N, H, W, D), float16 as stored; a batch is float32.
        captions: for each of the N images the token ids of each caption.
        batch_size: images in a batch.
        seed: determines the order in which `epoch` visits the images.
        device: where the batches go. Features and unpacked captions are kept there if they fit.
        packing: (captions (n, C, T), whether for a GPU) -> a packing, like the network's `packing`
            (`models.packing`). None: batches hold padded captions.
        few_sizes: pack as for a GPU, and pad the batches of an epoch to a few sizes. None: only on a GPU.
    """

    def __init__(
        self,
        features: np.ndarray,
        captions: list[list[list[int]]],
        batch_size: int,
        seed: int,
        device: torch.device,
        packing: Callable[[np.ndarray, bool], Packing] | None = None,
        few_sizes: bool | None = None,
    ) -> None:
        assert len(features) == len(captions)
        tokens = padded(captions)
        self.features, self.tokens = torch.from_numpy(features), torch.from_numpy(tokens)
        self.lengths = (tokens != PAD).sum(axis=2)  # (N, C)
        self.count, self.totals = len(captions), self.lengths.sum(axis=1)  # (N,) tokens of each image
        self.batch_size, self.seed, self.device = batch_size, seed, device
        few_sizes = device.type == "cuda" if few_sizes is None else few_sizes
        self.packing = packing and packing(tokens, few_sizes)
        self.buckets = self._buckets() if packing and few_sizes else None
        if fits_on(device, self.features.nbytes + self.tokens.nbytes):
            self.features, self.tokens = self.features.to(device), self.tokens.to(device)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return self.steps(self.batch_size)

    def steps(self, batch_size: int) -> int:
        """The number of batches in an epoch for any batch size."""
        return -(-self.count // batch_size)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Any]]:
        """Yields all images once, in an order that depends only on the seed and the epoch's number.

        With several processes, each takes its share of every batch.
        """
        for index in self.order(number, self.batch_size):
            yield self.take(share(index), self.buckets)

    def order(self, number: int, batch_size: int) -> Iterator[np.ndarray]:
        """Yields the image positions of each batch of an epoch, for any batch size."""
        rng = np.random.default_rng([self.seed, number])
        yield from self._batches(rng.permutation(self.count), rng, batch_size)

    def _batches(self, order: np.ndarray, rng: np.random.Generator, batch_size: int) -> Iterator[np.ndarray]:
        """Cuts shuffled images into batches of about the same number of tokens, and shuffles the batches."""
        size = batch_size * CHUNK
        chunks = [order[i : i + size] for i in range(0, len(order), size)]
        order = np.concatenate([chunk[np.argsort(self.totals[chunk], kind="stable")] for chunk in chunks])
        for start in rng.permutation(np.arange(0, len(order), batch_size)):
            yield order[start : start + batch_size]

    def in_order(self) -> Iterator[tuple[Tensor, Any]]:
        """Yields all images once, in the given order: for scores, not for training."""
        for start in range(0, self.count, self.batch_size):
            yield self.take(np.arange(start, min(start + self.batch_size, self.count)))

    def take(self, index: np.ndarray, buckets: Buckets | None = None) -> tuple[Tensor, Any]:
        """Features (B, ...) float32 and captions of the images at `index`, (B, C, T) int64 or packed.

        A full batch is padded to one of `buckets`; the smaller last batch of an epoch is not.
        """
        where = torch.from_numpy(index).to(self.features.device, non_blocking=True)
        features = self.features[where].to(self.device, non_blocking=True).float()  # widened on the device
        if self.packing:
            return features, self._packed(self.packing, index, buckets)
        lengths = self.lengths[index]
        rows, longest = int((lengths > 0).sum(axis=1).max()), int(lengths.max())
        return features, self.tokens[where, :rows, :longest].to(self.device, non_blocking=True).long()

    def _packed(self, packing: Packing, index: np.ndarray, buckets: Buckets | None) -> NamedTuple:
        full = len(index) == self.batch_size
        bucket = buckets.of(packing.size(index)) if buckets and full else None
        return on_device(packing.pack(index, bucket=bucket), self.device)

    def _buckets(self) -> Buckets | None:
        """Chooses the sizes from the batches of the first epochs."""
        batches = (index for epoch in range(SEEN) for index in self.order(epoch, self.batch_size))
        sizes = [self.packing.size(index) for index in batches if len(index) == self.batch_size]
        return Buckets(sizes, self.packing.largest(self.batch_size), self.packing.work) if sizes else None


class Buckets:
    """The smallest set of batch sizes that keeps padding low.

    Args:
        sizes: the sizes of some batches.
        largest: a size that any batch fits in.
        work: the cost of a size, by which padding is measured.
    """

    def __init__(
        self, sizes: list[Sequence[int]], largest: Sequence[int], work: Callable[[Sequence[int]], int]
    ) -> None:
        sizes, needed = sorted(sizes, key=work), sum(map(work, sizes))
        for count in range(1, len(sizes) + 1):
            parts = np.array_split(np.array(sizes), count)
            buckets = [tuple(part.max(axis=0).tolist()) for part in parts]
            if needed >= (1 - PADDING) * sum(
                work(bucket) * len(part) for bucket, part in zip(buckets, parts, strict=True)
            ):
                break
        self.sizes = [*sorted(buckets, key=work), tuple(largest)]

    def of(self, size: Sequence[int]) -> tuple[int, ...] | None:
        """Returns the smallest of these sizes in which `size` fits; None if it fits in none."""
        fitting = (bucket for bucket in self.sizes if all(a <= b for a, b in zip(size, bucket, strict=True)))
        return next(fitting, None)


def padded(captions: list[list[list[int]]]) -> np.ndarray:
    """Token ids of the captions of n images as (n, C, T) int32, padded with -100."""
    rows = max(len(of_image) for of_image in captions)
    longest = max(len(caption) for of_image in captions for caption in of_image)
    tokens = np.full((len(captions), rows, longest), PAD, np.int32)
    for i, of_image in enumerate(captions):
        for j, caption in enumerate(of_image):
            tokens[i, j, : len(caption)] = caption
    return tokens
