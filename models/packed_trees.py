"""Captions as trees, for causal transformers: a beginning that captions of an image share is one branch.

A causal model's output at a token depends only on the tokens before it. Captions such as "a man in a red
shirt ..." and "a man in a hat ..." share a beginning, which is run once; the output at its end predicts the
next token of each caption. Loss and gradients equal those of separate captions. (With dropout, the captions
share its random draws there, as they do in the image's prefix.)
"""

from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.losses import ROUND
from models.packing import AT_ONCE, Column, filled, starts_of

ALL = np.iinfo(np.int32).max  # as a node's `last`: larger than any place


class PackedTrees(NamedTuple):
    """B prefixes of P cells, and N nodes, which are the input tokens; R = B * P + N.

    All int64 except `weights`.
    """

    tokens: Tensor  # (N,) of each node, by image, then by caption and step
    positions: Tensor  # (R,) of all prefixes, then of the nodes; a caption's positions continue its prefix's
    cells: Tensor  # (R,) the index of each among the B * S cells of attention; B * S: no cell
    first: Tensor  # (B, S) a cell's place in its image's tree, branch after branch; the prefix comes first
    last: Tensor  # (B, S) the last place below it: a cell is visible from its `first` to its `last`
    outputs: Tensor  # (W,) the rows that predict something: the prefixes' ends, the nodes, then filling
    rows: Tensor  # (M,) the index into `outputs` that predicts each target
    targets: Tensor  # (M,) the target tokens
    weights: Tensor  # (M,) float32, the weight of each target in the sum
    count: Tensor  # () the number of targets without filling


class Trees:
    """The captions of n images as trees.

    Args:
        captions: (n, C, T) int.
        prefix: the number of cells before each image's tree.
    """

    def __init__(self, captions: np.ndarray, prefix: int) -> None:
        self.prefix = prefix
        grown = [_grow(captions[start : start + AT_ONCE]) for start in range(0, len(captions), AT_ONCE)]
        self._hold(*(np.concatenate(parts, axis=-1) for parts in zip(*grown, strict=True)))

    def _hold(
        self, nodes: np.ndarray, node_counts: np.ndarray, targets: np.ndarray, target_counts: np.ndarray
    ) -> None:
        self.tokens, self.steps, self.first, self.last = nodes
        self.rows, self.targets, self.caption = targets
        self.node_counts, self.target_counts = node_counts, target_counts
        self.node_starts, self.target_starts = (starts_of(x) for x in (self.node_counts, self.target_counts))

    def columns(self) -> list[Column]:
        """Everything that `with_columns` needs."""
        nodes = np.stack([self.tokens, self.steps, self.first, self.last], axis=1)
        targets = np.stack([self.rows, self.targets, self.caption], axis=1)
        return [(nodes, self.node_counts), (targets, self.target_counts)]

    def with_columns(self, columns: list[Column]) -> "Trees":
        """The same kind of packing for other images, from their columns."""
        (nodes, node_counts), (targets, target_counts) = columns
        trees = copy(self)
        trees._hold(
            np.ascontiguousarray(nodes.T), node_counts, np.ascontiguousarray(targets.T), target_counts
        )
        return trees

    def size(self, index: np.ndarray) -> tuple[int, int, int]:
        """Returns the number of nodes, of cells per image, and of targets."""
        nodes, targets = int(self.node_counts[index].sum()), int(self.target_counts[index].sum())
        cells = self.prefix + int(self.node_counts[index].max())
        return nodes + -(len(index) * self.prefix + nodes) % ROUND, cells + -cells % 8, targets

    def largest(self, images: int) -> tuple[int, int, int]:
        """Returns a size in which any batch of this many images fits."""
        nodes, cells, _ = self.size(self.node_counts.argsort()[-images:])
        return nodes, cells, int(np.sort(self.target_counts)[-images:].sum())

    def work(self, size: Sequence[int]) -> int:
        """The cost of a step of this size: its nodes."""
        return size[0]

    def pack(
        self, index: np.ndarray, weights: np.ndarray | None = None, bucket: Sequence[int] | None = None
    ) -> PackedTrees:
        """Returns the trees of the images at `index` (B,).

        `weights` (B, C) are the weights of captions; None: 1.
        """
        images, prefix = len(index), self.prefix
        room_of_nodes, cells, room_of_targets = bucket or self.size(index)
        of_node, rank, nodes = _spans(self.node_starts, self.node_counts, index)  # (n,) each
        of_target, _, targets = _spans(self.target_starts, self.target_counts, index)  # (m,) each
        start = np.arange(images)[:, None] * cells + np.arange(prefix)  # (B, P)
        place = of_node * cells + prefix + rank  # (n,)
        first, last = np.full(images * cells, ALL), np.full(images * cells, -1)  # empty cells are not visible
        first[start], last[start] = np.arange(prefix), ALL
        first[place], last[place] = prefix + self.first[nodes], prefix + self.last[nodes]
        ends = np.arange(images) * prefix + prefix - 1
        outputs = np.concatenate([ends, images * prefix + np.arange(room_of_nodes)])
        before = starts_of(self.node_counts[index])  # (B,) nodes in earlier images
        row = self.rows[targets]  # (m,) 0: the image's prefix; 1 + i: its node i
        row = np.where(row, images - 1 + before[of_target] + row, of_target)
        counts = np.ones(len(targets)) if weights is None else weights[of_target, self.caption[targets]]
        prefixes = np.tile(np.arange(prefix), images)
        return PackedTrees(
            tokens=filled(room_of_nodes, self.tokens[nodes]),
            positions=filled(images * prefix + room_of_nodes, prefixes, prefix + self.steps[nodes]),
            cells=filled(images * prefix + room_of_nodes, start.ravel(), place, filling=images * cells),
            first=torch.from_numpy(first.reshape(images, cells)),
            last=torch.from_numpy(last.reshape(images, cells)),
            outputs=filled(-(-len(outputs) // ROUND) * ROUND, outputs),
            rows=filled(room_of_targets, row),
            targets=filled(room_of_targets, self.targets[targets]),
            weights=filled(room_of_targets, counts, dtype=np.float32),
            count=torch.tensor(len(targets)),
        )


def seen(first: Tensor, last: Tensor) -> Tensor:
    """Which cell sees which, (B, S) each -> (B, S, S) bool.

    A cell sees itself and its ancestors, up to the prefix.
    """
    query = first[:, :, None]
    return (first[:, None] <= query) & (query <= last[:, None])


def _grow(captions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns nodes (4, N), their number per image (n,), targets (3, M) and their number per image (n,).

    A node is token, step, first and last (as in `PackedTrees`, from 0). A target is row (0: the prefix; 1 +
    i: the image's node i), token and caption.
    """
    exists = captions >= 0  # (n, C, T)
    inside = np.zeros_like(exists)
    inside[..., :-1] = exists[..., 1:]  # a token is an input if another one follows it
    words = np.where(inside, captions, -1)
    # In alphabetical order, each caption branches off the previous one, and branches are numbered depth
    # first.
    order = np.lexsort(np.moveaxis(words, 2, 0)[::-1], axis=-1)[..., None]  # (n, C, 1)
    words, exist = np.take_along_axis(words, order, 1), np.take_along_axis(inside, order, 1)
    new = exist.copy()
    new[:, 1:] &= ~np.logical_and.accumulate(words[:, 1:] == words[:, :-1], axis=2)
    counts = new.sum((1, 2))  # (n,)
    number = new.cumsum().reshape(new.shape) - 1  # over all images
    node = np.maximum.accumulate(np.where(new, number, -1), axis=1)  # (n, C, T) of each input
    # (n, C, 1) the deepest of each caption
    end = np.where(exist, node, -1).max(axis=2, keepdims=True, initial=-1)
    last = np.empty(counts.sum(), np.int64)
    # Of several captions through a node, the last one's place counts.
    last[node[exist]] = np.broadcast_to(end, node.shape)[exist]
    node = np.take_along_axis(node, order.argsort(1), 1)  # in the original order of captions

    # A node is named by the first caption that runs through it; nodes are in the order of their names.
    through = node[inside]
    name = np.empty(len(last), np.int64)
    name[through[::-1]] = np.arange(len(through))[::-1]
    named = name.argsort()  # (N,)
    image, _, step = (x[name[named]] for x in inside.nonzero())
    starts = starts_of(counts)
    nodes = np.stack(
        [captions[inside][name[named]], step, named - starts[image], last[named] - starts[image]]
    )
    rank = np.empty_like(named)
    rank[named] = np.arange(len(named)) - starts[image]
    row = np.zeros(captions.shape, np.int64)
    row[..., 1:] = np.where(inside[..., :-1], 1 + rank[node[..., :-1]] if len(rank) else 0, 0)
    targets = np.stack([row[exists], captions[exists], exists.nonzero()[1]])
    return nodes.astype(np.int32), counts, targets.astype(np.int32), exists.sum((1, 2))


def _spans(
    starts: np.ndarray, counts: np.ndarray, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The joined spans at `index`: each member's span, its index in the span, and its position."""
    counts = counts[index]
    of = np.repeat(np.arange(len(index)), counts)
    rank = np.arange(len(of)) - starts_of(counts)[of]
    return of, rank, starts[index][of] + rank
