"""An image's captions as a tree: what several of them begin with is one branch, computed once.

A causal model's output at a token depends on what stands before it alone. So of captions that begin alike ("a man in a
red shirt ...", "a man in a hat ...") the shared beginning needs to be run once, and the output there predicts what
follows in each of them. Loss and gradients are those of separate captions. (With dropout they share its draws there, as
they do in the image's prefix.)
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Packed(NamedTuple):
    """N nodes (tokens that are inputs), and M targets; a node is named by the first caption that runs through it."""

    image: Tensor  # (N,) int64, in row-major order of image, caption and step
    caption: Tensor  # (N,)
    step: Tensor  # (N,) its place in the caption, from 0
    rank: Tensor  # (N,) among the nodes of its image, from 0
    owner: Tensor  # (B, C, T) int64: the caption whose node a caption's token is; itself where the token is no input
    rows: Tensor  # (M,) what predicts each target: b for image b's prefix, B + n for node n
    tokens: Tensor  # (M,) targets
    weights: Tensor | None  # (M,) float32, of each target in the sum; None: 1


def pack(captions: Tensor, weights: Tensor | None = None) -> Packed:
    """Captions (B, C, T), padded (`models.losses`), as trees; `weights` (B, C) are of each caption's tokens."""
    images, count, _ = captions.shape
    exists = captions >= 0  # (B, C, T)
    inside = F.pad(exists[..., 1:], (0, 1))  # (B, C, T): a token is an input when another one follows it
    same = (captions[:, :, None] == captions[:, None]).cumprod(3)  # (B, C, C, T): one caption begins like another
    own = torch.arange(count, device=captions.device)[:, None]  # (C, 1)
    owner = torch.where(inside, (same * inside[:, None]).argmax(2), own)  # (B, C, T): the first of those
    kept = inside & (owner == own)
    image, caption, step = kept.nonzero(as_tuple=True)
    number = images - 1 + kept.flatten().cumsum(0).view_as(kept)  # (B, C, T): B + n at node n
    before = number.gather(1, owner)[..., :-1]  # (B, C, T-1): what predicts the second token, and so on
    prefix = torch.arange(images, device=captions.device)[:, None, None].expand(-1, count, 1)
    rows = torch.cat([prefix, before], dim=2)[exists]
    rank = (kept.flatten(1).cumsum(1) - 1).view_as(kept)[kept]
    if weights is not None:
        weights = weights[..., None].expand_as(exists)[exists]
    return Packed(image, caption, step, rank, owner, rows, captions[exists], weights)


def attention_mask(packed: Packed, cells: Tensor, prefix_len: int, rows: int) -> Tensor:
    """Which cell sees which, (B, S, S) bool: all see the prefix, and a node those before it on its branch.

    Args:
        cells: (N,) where each node stands among the B * S cells; an image's first `prefix_len` cells are its prefix,
            its nodes follow in order, then come empty cells, which no other sees.
        rows: cells of an image, S.
    """
    images, _, longest = packed.owner.shape
    empty = packed.caption.new_zeros(images * rows)
    caption = empty.index_copy(0, cells, packed.caption).view(images, rows)  # (B, S)
    step = empty.index_copy(0, cells, packed.step).view(images, rows)
    branch = packed.owner.gather(1, caption[:, :, None].expand(-1, -1, longest))  # (B, S, T)
    wanted = branch.gather(2, step[:, None].expand(-1, rows, -1))  # (B, S, S): whose node a query descends from
    place = torch.arange(rows, device=cells.device)
    return ((wanted == caption[:, None]) | (place < prefix_len)) & (place <= place[:, None])
