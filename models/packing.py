"""A batch's captions as integer arrays, made on the host.

Shapes on the device then do not depend on the words.

`Trees` are for causal transformers: a beginning that several captions of an image share is one branch,
computed once. A causal model's output at a token depends only on the tokens before it. Captions such as "a
man in a red shirt ..." and "a man in a hat ..." share a beginning, which is run once; the output at its end
predicts the next token of each caption. Loss and gradients equal those of separate captions. (With dropout,
the captions share its random draws there, as they do in the image's prefix.)

`Runs` are for recurrent networks: captions of similar length run together, so there is little padding.

Both are made from captions (n, C, T), int, padded as in `models.losses`. `size(index)` returns the space that
the images at `index` need, as a row of integers. `pack(index, ...)` returns their batch. With a larger size,
`room`, the batch is padded to it; loss and gradients do not change. Batches with the same number of images
and the same room have equal shapes.

`columns()` and `with_columns(...)` take the captions of single images out of one packing and into another.
"""

from collections.abc import Callable, Sequence
from copy import copy
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from models.losses import PAD, ROUND

Batch = TypeVar("Batch")
# int32 (M, K), the records of all images in turn; (n,) each image's number
Column = tuple[np.ndarray, np.ndarray]
ALL = np.iinfo(np.int32).max  # as a node's `last`: larger than any place
AT_ONCE = 10_000  # images whose trees are built together


def packed_by(
    packing: Callable[[np.ndarray], "Trees | Runs"],
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
        self.node_starts, self.target_starts = (_starts(x) for x in (self.node_counts, self.target_counts))

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
        self, index: np.ndarray, weights: np.ndarray | None = None, room: Sequence[int] | None = None
    ) -> PackedTrees:
        """Returns the trees of the images at `index` (B,).

        `weights` (B, C) are the weights of captions; None: 1.
        """
        images, prefix = len(index), self.prefix
        room_of_nodes, cells, room_of_targets = room or self.size(index)
        of_node, rank, nodes = _spans(self.node_starts, self.node_counts, index)  # (n,) each
        of_target, _, targets = _spans(self.target_starts, self.target_counts, index)  # (m,) each
        start = np.arange(images)[:, None] * cells + np.arange(prefix)  # (B, P)
        place = of_node * cells + prefix + rank  # (n,)
        first, last = np.full(images * cells, ALL), np.full(images * cells, -1)  # empty cells are not visible
        first[start], last[start] = np.arange(prefix), ALL
        first[place], last[place] = prefix + self.first[nodes], prefix + self.last[nodes]
        ends = np.arange(images) * prefix + prefix - 1
        outputs = np.concatenate([ends, images * prefix + np.arange(room_of_nodes)])
        before = np.cumsum(self.node_counts[index]) - self.node_counts[index]  # (B,) nodes in earlier images
        row = self.rows[targets]  # (m,) 0: the image's prefix; 1 + i: its node i
        row = np.where(row, images - 1 + before[of_target] + row, of_target)
        counts = np.ones(len(targets)) if weights is None else weights[of_target, self.caption[targets]]
        prefixes = np.tile(np.arange(prefix), images)
        return PackedTrees(
            tokens=_filled(room_of_nodes, self.tokens[nodes]),
            positions=_filled(images * prefix + room_of_nodes, prefixes, prefix + self.steps[nodes]),
            cells=_filled(images * prefix + room_of_nodes, start.ravel(), place, filling=images * cells),
            first=torch.from_numpy(first.reshape(images, cells)),
            last=torch.from_numpy(last.reshape(images, cells)),
            outputs=_filled(-(-len(outputs) // ROUND) * ROUND, outputs),
            rows=_filled(room_of_targets, row),
            targets=_filled(room_of_targets, self.targets[targets]),
            weights=_filled(room_of_targets, counts, dtype=np.float32),
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
    starts = _starts(counts)
    nodes = np.stack(
        [captions[inside][name[named]], step, named - starts[image], last[named] - starts[image]]
    )
    rank = np.empty_like(named)
    rank[named] = np.arange(len(named)) - starts[image]
    row = np.zeros(captions.shape, np.int64)
    row[..., 1:] = np.where(inside[..., :-1], 1 + rank[node[..., :-1]] if len(rank) else 0, 0)
    targets = np.stack([row[exists], captions[exists], exists.nonzero()[1]])
    return nodes.astype(np.int32), counts, targets.astype(np.int32), exists.sum((1, 2))


# ---- captions of similar length ----------------------------------------------------------------------------


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
        self, index: np.ndarray, weights: np.ndarray | None = None, room: Sequence[int] | None = None
    ) -> PackedRuns:
        """Returns the captions of the images at `index` (B,).

        `weights` (B, C) are the weights of captions; None: 1.
        """
        rows, room_of_captions, room_of_inputs, *steps = room or self.size(index)
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
        inside = np.repeat(begins - _starts(inputs), inputs) + np.arange(inputs.sum())
        present = exists.nonzero()[0]
        firsts, others = words[present, 0], words[:, 1:][np.arange(1, longest) <= inputs[:, None]]
        ends = room_of_captions, -(-(room_of_captions + room_of_inputs) // ROUND) * ROUND
        if weights is not None:
            each = weights[:, :rows].ravel()
            each = _filled(ends[0], each[present], dtype=np.float32), np.repeat(each, inputs)
            weights = _filled(ends[1], *each, dtype=np.float32)
        return PackedRuns(
            words=tuple(runs),
            order=tuple(map(torch.from_numpy, order)),
            lengths=torch.from_numpy(inputs.reshape(-1, rows)),
            present=_filled(ends[0], present),
            real=_filled(ends[0], np.ones(len(present)), dtype=np.float32),
            inside=_filled(room_of_inputs, inside),
            tokens=_filled(ends[1], _filled(ends[0], firsts, filling=PAD), others, filling=PAD),
            weights=weights,
            count=torch.tensor(len(present) + len(inside)),
        )

    def _groups(self, inputs: np.ndarray) -> list[np.ndarray]:
        """Returns the captions of each group, given each caption's number of inputs (B*C,)."""
        order = np.arange(len(inputs)) if self.groups == 1 else np.argsort(-inputs, kind="stable")
        size = -(-len(inputs) // self.groups)
        return [order[start : start + size] for start in range(0, len(order), size)]


# ---- both --------------------------------------------------------------------------------------------------


def _filled(room: int, *parts: np.ndarray, filling: int = 0, dtype: type = np.int64) -> Tensor:
    """Joins the parts and appends `filling`."""
    whole, end = np.full(room, filling, dtype), 0
    for part in parts:
        whole[end : end + len(part)] = part
        end += len(part)
    return torch.from_numpy(whole)


def _starts(counts: np.ndarray) -> np.ndarray:
    return counts.cumsum() - counts


def _spans(
    starts: np.ndarray, counts: np.ndarray, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The joined spans at `index`: each member's span, its index in the span, and its position."""
    counts = counts[index]
    of = np.repeat(np.arange(len(index)), counts)
    rank = np.arange(len(of)) - _starts(counts)[of]
    return of, rank, starts[index][of] + rank
