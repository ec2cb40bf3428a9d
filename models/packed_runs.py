"""Captions of similar length together, for recurrent networks: there is little padding."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.losses import PAD, ROUND
from models.packing import Column, filled, starts_of


class PackedRuns(NamedTuple):
    """Groups of G captions each, the longest first.

    N tokens are inputs, F captions exist. Int64 except `weights`.
    """

    words: tuple[Tensor, ...]  # (G, S) each, the inputs of a group's captions, padded with 0
    order: tuple[Tensor, ...]  # (G,) each, their indices among the B * C captions
    lengths: Tensor  # (B, C) the number of inputs of each caption
    present: Tensor  # (F,) the captions that exist, among the B * C; the image predicts their first token
    real: Tensor  # (F,) float32: 1, or 0 for filling
    inside: Tensor  # (N,) the positions of all inputs among the words of all groups, by caption and step
    tokens: Tensor  # (M,) the targets of `present`, those of `inside`, then PAD; M is a multiple of ROUND
    weights: Tensor | None  # (M,) float32, the weight of each target in the sum; None: 1
    count: Tensor  # () the number of targets without filling


class Runs:
    """The captions of n images, in groups of similar length.

    Args:
        captions: (n, C, T) int.
        groups: the number of groups in a batch; a single group keeps the captions' order.
    """

    def __init__(self, captions: np.ndarray, groups: int) -> None:
        count = int(np.flatnonzero((captions[..., 0] >= 0).any(0)).max(initial=0)) + 1
        self.captions, self.groups = captions[:, :count], groups
        self.lengths = (self.captions >= 0).sum(2)  # (n, C)

    def columns(self) -> list[Column]:
        """Everything that `with_columns` needs."""
        images, count = self.lengths.shape
        tokens = self.captions[self.captions >= 0].astype(np.int32)[:, None]
        lengths = self.lengths.astype(np.int32).reshape(-1, 1)
        return [(tokens, self.lengths.sum(1)), (lengths, np.full(images, count))]

    def with_columns(self, columns: list[Column]) -> "Runs":
        """The same kind of packing for other images, from their columns."""
        (tokens, _), (lengths, counts) = columns
        of_image = np.zeros((len(counts), counts.max(initial=0)), np.int64)  # (n, C)
        of_image[np.arange(of_image.shape[1]) < counts[:, None]] = lengths[:, 0]
        captions = np.full((*of_image.shape, of_image.max(initial=1)), PAD, np.int32)
        captions[np.arange(captions.shape[2]) < of_image[..., None]] = tokens[:, 0]
        return Runs(captions, self.groups)

    def size(self, index: np.ndarray) -> tuple[int, ...]:
        """Returns captions per image, the captions and inputs of all images, then the steps of each group."""
        exists = self.lengths[index] > 0  # (B, C)
        rows = int(np.flatnonzero(exists.any(0)).max(initial=0)) + 1  # columns that no image uses are dropped
        inputs = np.maximum(self.lengths[index, :rows] - 1, 0).ravel()
        steps = [int(inputs[group].max()) for group in self._groups(inputs)]
        return rows, int(exists.sum()), int(inputs.sum()), *steps

    def largest(self, images: int) -> tuple[int, ...]:
        """Returns a size in which any batch of this many images fits."""
        _, count, longest = self.captions.shape
        inputs = np.sort(np.maximum(self.lengths - 1, 0).sum(1))[-images:].sum()
        steps = [longest - 1] * len(self._groups(np.zeros(images * count)))
        return count, images * count, int(inputs), *steps

    def work(self, size: Sequence[int]) -> int:
        """The cost of a step of this size: the steps of all groups."""
        return sum(size[3:])

    def pack(
        self, index: np.ndarray, weights: np.ndarray | None = None, bucket: Sequence[int] | None = None
    ) -> PackedRuns:
        """Returns the captions of the images at `index` (B,).

        `weights` (B, C) are the weights of captions; None: 1.
        """
        rows, room_of_captions, room_of_inputs, *steps = bucket or self.size(index)
        captions = self.captions[index, :rows]  # (B, C, T)
        words, exists = captions.reshape(-1, captions.shape[2]), self.lengths[index, :rows].ravel() > 0
        inputs = np.maximum(self.lengths[index, :rows] - 1, 0).ravel()  # (B*C,)
        order, longest = self._groups(inputs), captions.shape[2]
        runs, begins, before = [], np.empty_like(inputs), 0
        for group, most in zip(order, steps, strict=True):
            run = np.zeros((len(group), most), np.int64)  # (G, S)
            run[:, :longest] = words[group, :most].clip(0)
            runs.append(torch.from_numpy(run))
            begins[group] = before + np.arange(len(group)) * most  # the position of each caption's words
            before += run.size
        inside = np.repeat(begins - starts_of(inputs), inputs) + np.arange(inputs.sum())
        present = exists.nonzero()[0]
        firsts, others = words[present, 0], words[:, 1:][np.arange(1, longest) <= inputs[:, None]]
        ends = room_of_captions, -(-(room_of_captions + room_of_inputs) // ROUND) * ROUND
        if weights is not None:
            each = weights[:, :rows].ravel()
            each = filled(ends[0], each[present], dtype=np.float32), np.repeat(each, inputs)
            weights = filled(ends[1], *each, dtype=np.float32)
        return PackedRuns(
            words=tuple(runs),
            order=tuple(map(torch.from_numpy, order)),
            lengths=torch.from_numpy(inputs.reshape(-1, rows)),
            present=filled(ends[0], present),
            real=filled(ends[0], np.ones(len(present)), dtype=np.float32),
            inside=filled(room_of_inputs, inside),
            tokens=filled(ends[1], filled(ends[0], firsts, filling=PAD), others, filling=PAD),
            weights=weights,
            count=torch.tensor(len(present) + len(inside)),
        )

    def _groups(self, inputs: np.ndarray) -> list[np.ndarray]:
        """Returns the captions of each group, given each caption's number of inputs (B*C,)."""
        order = np.arange(len(inputs)) if self.groups == 1 else np.argsort(-inputs, kind="stable")
        size = -(-len(inputs) // self.groups)
        return [order[start : start + size] for start in range(0, len(order), size)]
