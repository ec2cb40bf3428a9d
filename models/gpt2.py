"""GPT-2 (Radford et al. 2019) with packed captions for training and cached beams for decoding.

Weights have the names and shapes of transformers' `GPT2LMHeadModel`, so pretrained ones load unchanged. The
network does not decide what a token sees: `attend`, an argument, does. Training and decoding both share one
prefix among several texts, which the library's forward can do only with copies of the prefix:

- `packed_hidden` (training): one row per image, first its prefix, then the tree of its captions
  (`models.packed_trees`). Everything but the attention runs on the real tokens alone, as one (N, E) matrix.
- `begin` and `step` (decoding): keys and values of the prefix are stored once per image, for all of its beams
  (`models.kv_cache`).
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.kv_cache import BeamCache, FixedCache
from models.packed_trees import PackedTrees, seen

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "gelu": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
}


@dataclass(frozen=True)
class GPT2Config:
    """The settings of transformers' `GPT2Config` that the network depends on, with its names and defaults."""

    vocab_size: int = 50257  # V
    n_positions: int = 1024  # the longest text, prefix included
    n_embd: int = 768  # width E
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None  # width of the MLPs; None: 4 E
    activation_function: str = "gelu_new"  # the MLPs': see ACTIVATIONS
    resid_pdrop: float = 0.1  # dropout of what a block adds
    embd_pdrop: float = 0.1  # dropout of the embeddings
    attn_pdrop: float = 0.1  # dropout of the attention's weights
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02  # standard deviation of fresh weights
    scale_attn_weights: bool = True  # divide scores by the root of a head's width
    scale_attn_by_inverse_layer_idx: bool = False  # and by the layer's number
    tie_word_embeddings: bool = True  # one matrix for tokens' embeddings and logits

    def __post_init__(self) -> None:
        if self.activation_function not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"GPT-2's activation_function is {self.activation_function}; known are {known}")
        if self.n_embd % self.n_head:
            raise ValueError(f"GPT-2's {self.n_head} heads do not divide its width of {self.n_embd}")

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "GPT2Config":
        """Takes the fields it knows from a config.json of transformers. ValueError for other networks."""
        if (kind := config.get("model_type", "gpt2")) != "gpt2":
            raise ValueError(f"config.json describes a {kind}, not a GPT-2")
        if config.get("add_cross_attention"):
            raise ValueError(
                "config.json describes a GPT-2 with cross-attention, which no text-only GPT-2 has"
            )
        return cls(**{field.name: config[field.name] for field in fields(cls) if field.name in config})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class GPT2(nn.Module):
    """The blocks and, as `logits`, the output layer."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        draw_weights(config, self.lm_head)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.transformer.wte.weight

    def forward(self, embeddings: Tensor, positions: Tensor, attend: "Attend") -> Tensor:
        """Runs all blocks: embeddings (N, E) in any order, positions (N,) -> (N, E) before the final norm."""
        x = self.transformer.drop(embeddings + self.transformer.wpe(positions))  # (N, E)
        for block in self.transformer.h:
            x = block(x, attend)
        return x

    def logits(self, x: Tensor) -> Tensor:
        """The blocks' output (M, E) -> logits (M, V)."""
        return self.lm_head(self.transformer.ln_f(x))

    def check_length(self, prefix: int, tokens: int) -> None:
        """Raises ValueError if prefix and tokens together need more positions than this GPT-2 has."""
        if prefix + tokens > self.config.n_positions:
            raise ValueError(
                f"a prefix of {prefix} and {tokens} tokens of text need {prefix + tokens} positions; this "
                f"GPT-2 has {self.config.n_positions}: use a shorter prefix or shorter captions"
            )


class Transformer(nn.Module):
    """The weights of everything but the output layer."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)  # tokens
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)  # positions
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.apply(partial(draw_weights, config))


class Block(nn.Module):
    def __init__(self, config: GPT2Config, layer: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.attn = Attention(config, layer)
        self.ln_2 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, attend: "Attend") -> Tensor:
        x = x + self.attn(self.ln_1(x), attend)
        return x + self.mlp(self.ln_2(x))


class Attention(nn.Module):
    """A layer's attention, except for which tokens see each other: `attend` decides that."""

    def __init__(self, config: GPT2Config, layer: int) -> None:
        super().__init__()
        self.layer, self.heads = layer, config.n_head
        self.scale = (config.n_embd // config.n_head) ** -0.5 if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            self.scale /= layer + 1
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)
        self.attn_dropout = nn.Dropout(config.attn_pdrop)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor, attend: "Attend") -> Tensor:
        return self.resid_dropout(self.c_proj(attend(self, self.c_attn(x))))  # (N, 3E) -> (N, E)

    def split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, S, 3E) -> queries, keys and values, each (B, H, S, E/H)."""
        batch, length, _ = qkv.shape
        return qkv.view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


Attend = Callable[[Attention, Tensor], Tensor]  # (a layer's attention, queries|keys|values (N, 3E)) -> (N, E)


class MLP(nn.Module):
    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        inner = config.n_inner or 4 * config.n_embd
        self.c_fc = Conv1D(config.n_embd, inner)
        self.c_proj = Conv1D(inner, config.n_embd)
        self.act = ACTIVATIONS[config.activation_function]
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.c_proj(self.act(self.c_fc(x))))


class Conv1D(nn.Module):
    """A linear layer whose weight is stored as (in, out), as OpenAI did."""

    def __init__(self, size: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, out).normal_(std=0.02))
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)"""
        return torch.addmm(self.bias, x, self.weight)


def draw_weights(config: GPT2Config, module: nn.Module) -> None:
    """Draws a module's own weights from a normal distribution, smaller for the projections of deep networks.

    Random numbers are drawn in the same order as in transformers, discarded ones included, so a seed gives
    the same weights.
    """
    if isinstance(module, nn.Embedding | nn.Linear | Conv1D):
        nn.init.normal_(module.weight, std=config.initializer_range)
    elif isinstance(module, Attention | MLP):
        nn.init.normal_(module.c_proj.weight, std=config.initializer_range / sqrt(2 * config.n_layer))


# ---- training ----------------------------------------------------------------------------------------------


def packed_hidden(gpt: GPT2, prefix: Tensor, packed: PackedTrees) -> Tensor:
    """The blocks' output at every position that predicts a target: (W, E), the rows in `packed.outputs`.

    The result equals a run of each caption in its own row after a copy of its image's prefix, but needs far
    fewer tokens.

    Args:
        prefix: (B, P, E) prefix embeddings.
        packed: the images' captions as trees.
    """
    (images, _, width), cells = prefix.shape, packed.first.shape[1]
    text = gpt.transformer.wte(packed.tokens)  # (N, E)
    embeddings = torch.cat([prefix.reshape(-1, width), text])  # (R, E)

    # Only attention needs rows of (B, S) cells: first the prefix, then the image's nodes. Filling has none.
    visible = seen(packed.first, packed.last)[:, None]  # (B, 1, S, S)
    mask = torch.zeros(visible.shape, dtype=prefix.dtype, device=prefix.device).masked_fill(
        ~visible, float("-inf")
    )
    read = packed.cells % (images * cells)  # (R,)

    def attend(attention: Attention, qkv: Tensor) -> Tensor:
        padded = qkv.new_zeros(images * cells + 1, 3 * width)
        padded[packed.cells] = qkv  # `index_copy` would keep its source for the backward pass
        q, k, v = attention.split(padded[:-1].view(images, cells, 3 * width))  # (B, H, S, d)
        dropout = attention.attn_dropout
        out = F.scaled_dot_product_attention(
            q, k, v, mask, dropout_p=dropout.p if dropout.training else 0.0, scale=attention.scale
        )
        return out.transpose(1, 2).reshape(images * cells, width).index_select(0, read)

    return gpt(embeddings, packed.positions, attend).index_select(0, packed.outputs)


# ---- decoding ----------------------------------------------------------------------------------------------


def begin(gpt: GPT2, prefix: Tensor) -> tuple[Tensor, BeamCache]:
    """Runs prefixes (B, P, E). Returns the first token's logits (B, V) and a state with one row per image."""
    images, length, width = prefix.shape
    gpt.check_length(length, 0)
    stored_keys, stored_values = [], []

    def attend(attention: Attention, qkv: Tensor) -> Tensor:
        q, k, v = attention.split(qkv.view(images, length, 3 * width))  # (B, H, P, d)
        stored_keys.append(k)
        stored_values.append(v)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=attention.scale)
        return out.transpose(1, 2).reshape(-1, width)  # (B*P, E)

    positions = torch.arange(length, device=prefix.device).repeat(images)
    x = gpt(prefix.reshape(-1, width), positions, attend).view(images, length, width)
    return gpt.logits(x[:, -1]), BeamCache(stored_keys, stored_values)


def step(gpt: GPT2, tokens: Tensor, state: BeamCache | FixedCache) -> tuple[Tensor, BeamCache | FixedCache]:
    """Feeds one token to each row: tokens (B*K,) -> logits (B*K, V). Changes `state` and returns it."""
    mask, position = state.advance()
    if isinstance(state, BeamCache):
        gpt.check_length(state.prefix, state.ancestors.shape[2])
    width = gpt.config.n_embd

    def attend(attention: Attention, qkv: Tensor) -> Tensor:
        q, k, v = attention.split(qkv.view(-1, state.beams, 3 * width))  # (B, H, K, d)
        keys, values = state.store(attention.layer, k, v)
        out = F.scaled_dot_product_attention(q, keys, values, mask, scale=attention.scale)
        return out.transpose(1, 2).reshape(-1, width)  # (B*K, E)

    return gpt.logits(gpt(gpt.transformer.wte(tokens), position.expand_as(tokens), attend)), state
