"""Keys and values of a transformer's tokens so far, kept while it decodes step by step.

`BeamCache` stores a prefix once per image, followed by every token that one of its beams has produced. A mask
lets a beam see the prefix and its own ancestors. Reordering beams therefore moves only a small table of
ancestors, and no keys or values. `FixedCache` has buffers of a fixed size, so that a GPU can record a step;
its texts are never reordered.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class BeamCache:
    """Keys and values of B prefixes, and of the tokens that each prefix's K beams have produced so far.

    Row `b * K + k` is beam k of image b. `keys[layer]` and `values[layer]` are (B, H, room, d): the prefix,
    then K columns per step. `ancestors` (B, K, steps) gives the column of each step from which a beam
    descends.
    """

    room = 8  # steps by which the buffers are extended

    def __init__(self, keys: list[Tensor], values: list[Tensor]) -> None:
        self.keys, self.values = keys, values
        self.prefix = keys[0].shape[2]
        self.ancestors = torch.zeros(keys[0].shape[0], 1, 0, dtype=torch.int64, device=keys[0].device)

    @property
    def beams(self) -> int:
        return self.ancestors.shape[1]

    def expand(self, beams: int) -> "BeamCache":
        """Repeats each image's row `beams` times; allowed only before the first step."""
        if self.ancestors.shape[1:] != (1, 0):
            raise ValueError("expand before the first step: nothing has been stored for the new rows")
        self.ancestors = self.ancestors.expand(-1, beams, -1)
        return self

    def fixed(self, tokens: int) -> "FixedCache":
        """Copies the prefix for each beam, with room for `tokens` more; only before the first step."""
        assert self.ancestors.shape[2] == 0
        room = tokens + -(self.prefix + tokens) % 16  # rows of the mask are aligned

        def copied(stored: Tensor) -> Tensor:
            return F.pad(stored, (0, 0, 0, room)).repeat_interleave(self.beams, 0)

        newest = torch.full((1,), self.prefix - 1, device=self.ancestors.device)
        return FixedCache([copied(x) for x in self.keys], [copied(x) for x in self.values], newest)

    def select(self, rows: Tensor) -> "BeamCache":
        """Keeps `rows` (B' * K,), in that order, K rows of an image at a time.

        Images may be dropped, not reordered.
        """
        parents = rows.view(-1, self.beams)  # (B', K)
        if len(parents) < len(self.ancestors):
            images = parents[:, 0] // self.beams
            self.keys = [keys[images] for keys in self.keys]
            self.values = [values[images] for values in self.values]
            self.ancestors = self.ancestors[images]
        self.ancestors = self.ancestors.take_along_dim((parents % self.beams)[:, :, None], 1)
        return self

    def advance(self) -> tuple[Tensor, Tensor]:
        """Makes room for one more token per row.

        Returns the additive mask (B, 1, K, P + K * steps) and the tokens' position (1,).
        """
        own = torch.arange(self.beams, device=self.ancestors.device)
        newest = own[None, :, None].expand(len(self.ancestors), -1, 1)
        self.ancestors = torch.cat([self.ancestors, newest], dim=2)
        descends = self.ancestors[..., None] == own  # (B, K, steps, K)
        seen = F.pad(descends.flatten(2), (self.prefix, 0), value=True)  # (B, K, P + K * steps)
        if seen.shape[2] > self.keys[0].shape[2]:
            self.keys = [self._grown(keys) for keys in self.keys]
            self.values = [self._grown(values) for values in self.values]
        images, beams, cells = seen.shape
        mask = torch.zeros(images, beams, cells + -cells % 8, dtype=self.keys[0].dtype, device=seen.device)
        position = torch.full((1,), self.prefix + self.ancestors.shape[2] - 1, device=seen.device)
        # Rows are aligned: no copy per layer.
        return mask[..., :cells].masked_fill_(~seen, float("-inf"))[:, None], position

    def _grown(self, stored: Tensor) -> Tensor:
        images, heads, _, size = stored.shape
        return torch.cat([stored, stored.new_empty(images, heads, self.room * self.beams, size)], dim=2)

    def store(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Writes the newest token's keys and values (B, H, K, d); returns all of the layer's so far."""
        stop = self.prefix + self.beams * self.ancestors.shape[2]
        self.keys[layer][:, :, stop - self.beams : stop] = keys
        self.values[layer][:, :, stop - self.beams : stop] = values
        return self.keys[layer][:, :, :stop], self.values[layer][:, :, :stop]


class FixedCache(NamedTuple):
    """Keys and values of N texts in buffers of a fixed size, which steps fill in place."""

    keys: list[Tensor]  # each layer's (N, H, cells, d): the prefix, the tokens so far, then zeros
    values: list[Tensor]
    newest: Tensor  # (1,) int64: the cell of the newest token, which is its position

    beams = 1  # each text has its own copy of the prefix

    def advance(self) -> tuple[Tensor, Tensor]:
        """Goes on to the next cell. Returns the additive mask (1, 1, 1, cells), and the position (1,)."""
        keys, newest = self.keys[0], self.newest.add_(1)
        later = torch.arange(keys.shape[2], device=keys.device) > newest
        return keys.new_zeros(1, 1, 1, len(later)).masked_fill_(later, float("-inf")), newest

    def store(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Writes the newest token's keys and values (N, H, 1, d); returns those of all cells."""
        self.keys[layer].index_copy_(2, self.newest, keys)
        self.values[layer].index_copy_(2, self.newest, values)
        return self.keys[layer], self.values[layer]
