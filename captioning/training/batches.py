"""Features and captions of one split in memory, and batches of them without per-item Python.

A batch is a set of images, each with all its captions: `features (B, ...)`, `captions (B, C, T)` padded with -100, or
packed by the network that learns from them (`models.packing`). Images whose captions have about the same number of
tokens share a batch, so that little of it is padding.

On a GPU packed batches come in a few sizes, so that steps can be recorded (`captioning.training.graphs`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from models.losses import PAD
from models.packing import on_device

CHUNK = 16  # batches that are sorted by length together
SEEN = 3  # epochs whose batches decide the sizes of all
PADDING = 0.12  # of the work in those epochs


class CaptionBatches:
    """The images of a split with features and encoded captions.

    Args:
        features: (N, D) or (N, H, W, D), float16 as stored; a batch is float32.
        captions: for each of the N images the token ids of each of its captions.
        batch_size: images in a batch.
        seed: of the order in which `epoch` visits the images.
        device: where the batches are wanted. Features, and captions that are not packed, live there when they fit.
        packing: (captions (n, C, T), whether for a GPU) -> `models.packing.Trees` or `Runs`, as the network's `packing`
            does; None: batches hold the captions themselves.
        few_sizes: pack as for a GPU, and fill batches of an epoch up to one of a few sizes; None: on a GPU.
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
        rows = max(len(of_image) for of_image in captions)
        longest = max(len(caption) for of_image in captions for caption in of_image)
        tokens = np.full((len(captions), rows, longest), PAD, np.int32)
        for i, of_image in enumerate(captions):
            for j, caption in enumerate(of_image):
                tokens[i, j, : len(caption)] = caption
        self.features, self.tokens = torch.from_numpy(features), torch.from_numpy(tokens)
        self.lengths = (tokens != PAD).sum(axis=2)  # (N, C)
        self.batch_size, self.seed, self.device = batch_size, seed, device
        few_sizes = device.type == "cuda" if few_sizes is None else few_sizes
        self.packing = packing and packing(tokens, few_sizes)
        self.rooms = self._rooms() if packing and few_sizes else None
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

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Any]]:
        """All images once, in an order that depends on the seed and the epoch's number alone."""
        for index in self.order(number, self.batch_size):
            yield self.take(index, self.rooms)

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

    def in_order(self) -> Iterator[tuple[Tensor, Any]]:
        """All images once, in the order given: for scores, not for training."""
        for start in range(0, len(self.features), self.batch_size):
            yield self.take(np.arange(start, min(start + self.batch_size, len(self.features))))

    def take(self, index: np.ndarray, rooms: Rooms | None = None) -> tuple[Tensor, Any]:
        """Features (B, ...) float32 and captions of the images at `index`, (B, C, T) int64 or packed.

        A batch of `batch_size` is filled up to one of `rooms`; the last, smaller one of an epoch is not.
        """
        where = torch.from_numpy(index).to(self.features.device, non_blocking=True)
        features = self.features[where].to(self.device, non_blocking=True).float()  # widened where it is wanted
        if self.packing:
            room = rooms.of(self.packing.size(index)) if rooms and len(index) == self.batch_size else None
            return features, on_device(self.packing.pack(index, room=room), self.device)
        lengths = self.lengths[index]
        rows, longest = int((lengths > 0).sum(axis=1).max()), int(lengths.max())
        return features, self.tokens[where, :rows, :longest].to(self.device, non_blocking=True).long()

    def _rooms(self) -> Rooms | None:
        """By the batches of the first epochs."""
        batches = (index for epoch in range(SEEN) for index in self.order(epoch, self.batch_size))
        sizes = [self.packing.size(index) for index in batches if len(index) == self.batch_size]
        return Rooms(sizes, self.packing.largest(self.batch_size), self.packing.work) if sizes else None


class Packing(Protocol):
    """Captions of many images, of which batches are packed: `models.packing.Trees` and `Runs`."""

    def size(self, index: np.ndarray) -> Sequence[int]: ...
    def largest(self, images: int) -> Sequence[int]: ...
    def work(self, size: Sequence[int]) -> int: ...
    def pack(
        self, index: np.ndarray, weights: np.ndarray | None = None, room: Sequence[int] | None = None
    ) -> NamedTuple: ...


class Rooms:
    """As few sizes of batches as there can be with little padding.

    Args:
        sizes: that batches have.
        largest: one that all fit in.
        work: what a size costs, by which padding is measured.
    """

    def __init__(
        self, sizes: list[Sequence[int]], largest: Sequence[int], work: Callable[[Sequence[int]], int]
    ) -> None:
        sizes, needed = sorted(sizes, key=work), sum(map(work, sizes))
        for count in range(1, len(sizes) + 1):
            parts = np.array_split(np.array(sizes), count)
            rooms = [tuple(part.max(axis=0).tolist()) for part in parts]
            if needed >= (1 - PADDING) * sum(work(room) * len(part) for room, part in zip(rooms, parts, strict=True)):
                break
        self.rooms = [*sorted(rooms, key=work), tuple(largest)]

    def of(self, size: Sequence[int]) -> tuple[int, ...]:
        """The smallest that has room for `size`."""
        return next(room for room in self.rooms if all(a <= b for a, b in zip(size, room, strict=True)))


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
