"""A batch's captions as integer arrays, made on the host: shapes on the device do not depend on the words.

- `models.packed_trees.Trees`, for causal transformers: captions of an image share their equal beginnings.
- `models.packed_runs.Runs`, for recurrent networks: captions of similar length run together.

Both are made from captions (n, C, T), int, padded as in `models.losses`, and are a `Packing`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

Batch = TypeVar("Batch")
# int32 (M, K), the records of all images in turn; (n,) each image's number
Column = tuple[np.ndarray, np.ndarray]
AT_ONCE = 10_000  # images that are packed together


class Packing(Protocol):
    """Captions of many images, from which batches are packed.

    A size is a row of integers: the space that a batch takes. Batches with the same number of images and the
    same size have equal shapes.
    """

    def size(self, index: np.ndarray) -> Sequence[int]:
        """The space that the images at `index` (B,) need."""

    def largest(self, images: int) -> Sequence[int]:
        """A size in which any batch of this many images fits."""

    def work(self, size: Sequence[int]) -> int:
        """The cost of a step of this size, by which padding is measured."""

    def pack(
        self, index: np.ndarray, weights: np.ndarray | None = None, bucket: Sequence[int] | None = None
    ) -> NamedTuple:
        """The batch of the images at `index` (B,).

        Args:
            weights: (B, C) of their captions; None: 1.
            bucket: a size to which the batch is padded; loss and gradients do not change. None: as they need.
        """

    def columns(self) -> list[Column]:
        """Everything that `with_columns` needs: the captions of single images, to store them apart."""

    def with_columns(self, columns: list[Column]) -> Packing:
        """The same kind of packing for other images, from their columns."""


def packed_by(
    packing: Callable[[np.ndarray], Packing],
    captions: Tensor | Batch,
    weights: Tensor | None,
    device: torch.device,
) -> Batch:
    """Packs captions (B, C, T) and `weights` (B, C); a packed batch is returned unchanged.

    On a GPU the host waits for the captions.
    """
    if not isinstance(captions, Tensor):
        return captions
    weights = None if weights is None else weights.detach().cpu().numpy()
    return on_device(packing(captions.cpu().numpy()).pack(np.arange(len(captions)), weights), device)


def on_device(batch: Batch, device: torch.device) -> Batch:
    """Copies the tensors of a batch, in any nesting, to a device; the host does not wait."""
    return tree_map(lambda x: x.to(device, non_blocking=True) if isinstance(x, Tensor) else x, batch)


def filled(length: int, *parts: np.ndarray, filling: int = 0, dtype: type = np.int64) -> Tensor:
    """Joins the parts and appends `filling`."""
    whole, end = np.full(length, filling, dtype), 0
    for part in parts:
        whole[end : end + len(part)] = part
        end += len(part)
    return torch.from_numpy(whole)


def starts_of(counts: np.ndarray) -> np.ndarray:
    return counts.cumsum() - counts
