"""GPT-2's blocks, driven by us: several captions on one prefix for training, cached beams for decoding.

The weights are those of transformers' `GPT2LMHeadModel`, used module by module; only the attention between them is
ours, because both uses share one prefix among several texts, which the library's forward cannot do without copies:

- `packed_hidden` (training): one row an image, its prefix once, then the tree of its captions (`models.packing`). All
  but the attention runs on the real tokens alone, as one (N, E) matrix.
- `begin` and `step` (decoding): keys and values of the prefix are kept once an image, and after them those of every
  token that one of its beams has produced. A beam sees the prefix and its own ancestors, by a mask; so reordering beams
  moves a small table of ancestors, and no keys or values at all.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import GPT2LMHeadModel

from models.packing import PackedTrees, seen

Attend = Callable[[int, Tensor], Tensor]  # (layer, queries|keys|values (N, 3E)) -> (N, E)


def run_blocks(gpt: GPT2LMHeadModel, embeddings: Tensor, positions: Tensor, attend: Attend) -> Tensor:
    """All blocks over N tokens in any order: embeddings (N, E), positions (N,) -> (N, E), before the final norm.

    What a token sees is up to `attend`.
    """
    activation = gpt.config.activation_function
    x = gpt.transformer.drop(embeddings + gpt.transformer.wpe(positions))  # (N, E)
    for layer, block in enumerate(gpt.transformer.h):
        seen = attend(layer, block.attn.c_attn(block.ln_1(x)))  # (N, 3E) -> (N, E)
        x = x + block.attn.resid_dropout(block.attn.c_proj(seen))
        inner = block.mlp.c_fc(block.ln_2(x))  # (N, 4E)
        # The library computes GPT-2's own GELU in seven steps; torch does the same in one.
        inner = F.gelu(inner, approximate="tanh") if activation == "gelu_new" else block.mlp.act(inner)
        x = x + block.mlp.dropout(block.mlp.c_proj(inner))
    return x


def logits_of(gpt: GPT2LMHeadModel, x: Tensor) -> Tensor:
    """Vocabulary logits (M, V) of the blocks' output (M, E)."""
    return gpt.lm_head(gpt.transformer.ln_f(x))


def split_heads(gpt: GPT2LMHeadModel, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, S, 3E) -> queries, keys and values, each (B, H, S, E/H)."""
    batch, length, _ = qkv.shape
    return qkv.view(batch, length, 3, gpt.config.n_head, -1).permute(2, 0, 3, 1, 4).unbind(0)


def scale_of(gpt: GPT2LMHeadModel, layer: int) -> float:
    """What the scores of a layer's attention are multiplied by."""
    config = gpt.config
    scale = (config.n_embd // config.n_head) ** -0.5 if config.scale_attn_weights else 1.0
    return scale / (layer + 1) if config.scale_attn_by_inverse_layer_idx else scale


def check_length(gpt: GPT2LMHeadModel, prefix: int, tokens: int) -> None:
    if prefix + tokens > gpt.config.n_positions:
        raise ValueError(
            f"a prefix of {prefix} and {tokens} tokens of text need {prefix + tokens} positions; this GPT-2 has "
            f"{gpt.config.n_positions}: use a shorter prefix or shorter captions"
        )


# ---- training ------------------------------------------------------------------------------------------------------


def packed_hidden(gpt: GPT2LMHeadModel, prefix: Tensor, packed: PackedTrees) -> Tensor:
    """The blocks' output at every position that predicts a target: (W, E), the rows that `packed.outputs` names.

    Equal to running each caption in a row of its own after a copy of its image's prefix, at a fraction of the tokens.

    Args:
        prefix: (B, P, E) prefix embeddings.
        packed: the images' captions as trees.
    """
    (images, _, width), cells = prefix.shape, packed.first.shape[1]
    text = gpt.transformer.wte(packed.tokens)  # (N, E)
    embeddings = torch.cat([prefix.reshape(-1, width), text])  # (R, E)

    # Only attention needs rows: (B, S) cells, the prefix first, then the image's nodes; what fills up is in none.
    visible = seen(packed.first, packed.last)[:, None]  # (B, 1, S, S)
    mask = torch.zeros(visible.shape, dtype=prefix.dtype, device=prefix.device).masked_fill(~visible, float("-inf"))
    read = packed.cells % (images * cells)  # (R,)

    def attend(layer: int, qkv: Tensor) -> Tensor:
        padded = qkv.new_zeros(images * cells + 1, 3 * width)
        padded[packed.cells] = qkv  # by `index_copy`, what is put there would be kept for the backward pass
        q, k, v = split_heads(gpt, padded[:-1].view(images, cells, 3 * width))  # (B, H, S, d)
        dropout = gpt.transformer.h[layer].attn.attn_dropout
        out = F.scaled_dot_product_attention(
            q, k, v, mask, dropout_p=dropout.p if dropout.training else 0.0, scale=scale_of(gpt, layer)
        )
        return out.transpose(1, 2).reshape(images * cells, width).index_select(0, read)

    return run_blocks(gpt, embeddings, packed.positions, attend).index_select(0, packed.outputs)


# ---- decoding ------------------------------------------------------------------------------------------------------


class Beams:
    """Keys and values of B prefixes and of the tokens that K beams on each have produced so far.

    Row `b * K + k` is beam k of image b. `keys[layer]` and `values[layer]` are (B, H, room, d): the prefix, then K
    columns a step; `ancestors` (B, K, steps) says which of a step's columns a beam descends from.
    """

    room = 8  # steps by which the buffers grow

    def __init__(self, keys: list[Tensor], values: list[Tensor]) -> None:
        self.keys, self.values = keys, values
        self.prefix = keys[0].shape[2]
        self.ancestors = torch.zeros(keys[0].shape[0], 1, 0, dtype=torch.int64, device=keys[0].device)

    @property
    def beams(self) -> int:
        return self.ancestors.shape[1]

    def expand(self, beams: int) -> "Beams":
        """From one row an image to `beams` equal rows an image; before the first step only."""
        if self.ancestors.shape[1:] != (1, 0):
            raise ValueError("expand before the first step: nothing has been stored for the new rows")
        self.ancestors = self.ancestors.expand(-1, beams, -1)
        return self

    def select(self, rows: Tensor) -> "Beams":
        """Keeps `rows` (B' * K,), in that order: K rows of an image each time; images may leave, not change places."""
        parents = rows.view(-1, self.beams)  # (B', K)
        if len(parents) < len(self.ancestors):
            images = parents[:, 0] // self.beams
            self.keys = [keys[images] for keys in self.keys]
            self.values = [values[images] for values in self.values]
            self.ancestors = self.ancestors[images]
        self.ancestors = self.ancestors.take_along_dim((parents % self.beams)[:, :, None], 1)
        return self

    def advance(self) -> Tensor:
        """Makes room for one more token a row; returns the additive mask (B, 1, K, P + K * steps) of what each sees."""
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
        return mask[..., :cells].masked_fill_(~seen, float("-inf"))[:, None]  # rows aligned, or each layer copies it

    def _grown(self, stored: Tensor) -> Tensor:
        images, heads, _, size = stored.shape
        return torch.cat([stored, stored.new_empty(images, heads, self.room * self.beams, size)], dim=2)

    def store(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Writes the newest token's keys and values (B, H, K, d); returns all of the layer's so far."""
        stop = self.prefix + self.beams * self.ancestors.shape[2]
        self.keys[layer][:, :, stop - self.beams : stop] = keys
        self.values[layer][:, :, stop - self.beams : stop] = values
        return self.keys[layer][:, :, :stop], self.values[layer][:, :, :stop]


def begin(gpt: GPT2LMHeadModel, prefix: Tensor) -> tuple[Tensor, Beams]:
    """Runs prefixes (B, P, E): the first token's logits (B, V), and the state with one row an image."""
    images, length, width = prefix.shape
    check_length(gpt, length, 0)
    stored_keys, stored_values = [], []

    def attend(layer: int, qkv: Tensor) -> Tensor:
        q, k, v = split_heads(gpt, qkv.view(images, length, 3 * width))  # (B, H, P, d)
        stored_keys.append(k)
        stored_values.append(v)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale_of(gpt, layer))
        return out.transpose(1, 2).reshape(-1, width)  # (B*P, E)

    positions = torch.arange(length, device=prefix.device).repeat(images)
    x = run_blocks(gpt, prefix.reshape(-1, width), positions, attend).view(images, length, width)
    return logits_of(gpt, x[:, -1]), Beams(stored_keys, stored_values)


def step(gpt: GPT2LMHeadModel, tokens: Tensor, state: Beams) -> tuple[Tensor, Beams]:
    """Feeds one token to each row: tokens (B*K,) -> logits (B*K, V). `state` is changed in place and returned."""
    mask = state.advance()
    images, beams, steps = state.ancestors.shape
    check_length(gpt, state.prefix, steps)
    width = gpt.config.n_embd

    def attend(layer: int, qkv: Tensor) -> Tensor:
        q, k, v = split_heads(gpt, qkv.view(images, beams, 3 * width))  # (B, H, K, d)
        keys, values = state.store(layer, k, v)
        out = F.scaled_dot_product_attention(q, keys, values, mask, scale=scale_of(gpt, layer))
        return out.transpose(1, 2).reshape(-1, width)  # (B*K, E)

    positions = torch.full_like(tokens, state.prefix + steps - 1)
    return logits_of(gpt, run_blocks(gpt, gpt.transformer.wte(tokens), positions, attend)), state
