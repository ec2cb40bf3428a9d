"""ClipCap: a CLIP embedding becomes a prefix that GPT-2 continues (https://arxiv.org/abs/2111.09734).

The method is by Mokady et al. 2021. Two mapping networks can make the prefix: an MLP, meant for a fine-tuned
GPT-2, and a transformer with a learned constant, meant for a frozen one. The names of modules, and so of
weights, are those of the published checkpoints.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models import gpt2
from models.gpt2 import GPT2, GPT2Config
from models.kv_cache import BeamCache, FixedCache
from models.losses import Loss, linear_cross_entropy
from models.packed_trees import PackedTrees, Trees
from models.packing import packed_by
from models.standardize import Standardize


@dataclass(frozen=True)
class ClipCapConfig:
    """Every size except GPT-2's own, which are in its `GPT2Config`."""

    feature_size: int  # width of the image embedding
    mapping: str = "mlp"  # mlp | transformer
    prefix_len: int = 10  # prefix tokens that represent the image
    clip_len: int = 10  # transformer: tokens made from the embedding; 0: features are tokens, (B, L, D)
    mapping_layers: int = 8  # transformer: layers
    mapping_heads: int = 8  # transformer: attention heads
    freeze_gpt2: bool = False  # True: only the mapping network is trained
    standardize: bool = False  # standardise the features; published checkpoints do not
    image_dropout: float = 0.0  # dropout of features

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class ClipCap(nn.Module):
    """A mapping network and a GPT-2.

    Args:
        config: sizes and the kind of mapping network.
        gpt: used without a copy. With `config.freeze_gpt2` it gets no gradients and its dropout stays off.
    """

    def __init__(self, config: ClipCapConfig, gpt: GPT2) -> None:
        super().__init__()
        if config.mapping not in ("mlp", "transformer"):
            raise ValueError(f"mapping must be mlp or transformer, not {config.mapping}")
        self.config = config
        self.gpt = gpt
        self.standardize = Standardize(config.feature_size, config.image_dropout, stored=config.standardize)
        width, length = gpt.config.n_embd, config.prefix_len
        if config.mapping == "mlp":
            self.clip_project = MLP(config.feature_size, width * length // 2, width * length)
        else:
            self.clip_project = TransformerMapper(
                config.feature_size,
                width,
                length,
                config.clip_len,
                config.mapping_layers,
                config.mapping_heads,
            )
        if config.freeze_gpt2:
            gpt.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "ClipCap":
        super().train(mode)
        if self.config.freeze_gpt2:
            self.gpt.eval()
        return self

    @property
    def max_tokens(self) -> int:
        """The longest caption that GPT-2's positions allow after the prefix, end-of-text token included."""
        return self.gpt.config.n_positions - self.config.prefix_len + 1

    def prefix(self, features: Tensor) -> Tensor:
        """Image embeddings (B, D), or (B, L, D), in any floating type -> prefix embeddings (B, P, E)."""
        features = self.standardize(features)
        return self.clip_project(features).view(len(features), self.config.prefix_len, -1)  # (B, P, E)

    def packing(self, captions: np.ndarray, on_gpu: bool = False) -> Trees:
        """Packs captions (n, C, T), padded with -100, into the batches that `loss` takes."""
        self.gpt.check_length(self.config.prefix_len, captions.shape[2] - 1)
        return Trees(captions, self.config.prefix_len)

    def loss(
        self,
        features: Tensor,
        captions: Tensor | PackedTrees,
        label_smoothing: float = 0.0,
        weights: Tensor | None = None,
    ) -> Loss:
        """Cross-entropy of all captions, with one packed row per image (`models.gpt2.packed_hidden`).

        Args:
            features: (B, D) image embeddings.
            captions: (B, C, T) int64 token ids, each caption ended by the end-of-text token and padded with
                -100; or a packed batch, which includes the weights.
            weights: (B, C) float32, the weight of each caption's cross-entropy in the sum. None: 1.

        Returns:
            `Loss(total, tokens)`: the sum over the tokens of all captions, and their number.
        """
        packed = packed_by(self.packing, captions, weights, features.device)
        hidden = gpt2.packed_hidden(self.gpt, self.prefix(features), packed)  # (W, E)
        total = linear_cross_entropy(
            self.gpt.transformer.ln_f(hidden), self.gpt.lm_head.weight, packed.rows, packed.targets,
            packed.weights, label_smoothing,
        )  # fmt: skip
        return Loss(total, packed.count)

    def begin(self, features: Tensor) -> tuple[Tensor, BeamCache]:
        """Features (B, D) -> the first token's logits (B, V), and a state with one row per image."""
        return gpt2.begin(self.gpt, self.prefix(features))

    def step(self, tokens: Tensor, state: BeamCache | FixedCache) -> tuple[Tensor, BeamCache | FixedCache]:
        """Feeds one token to each row: tokens (N,) -> logits (N, V)."""
        return gpt2.step(self.gpt, tokens, state)


def from_sizes(sizes: dict[str, Any]) -> ClipCap:
    """Builds a network with fresh weights.

    The sizes are `ClipCapConfig.to_dict()` and, under `gpt2`, `GPT2Config.to_dict()` or what transformers
    writes. GPT-2's defaults stand for what is missing there.
    """
    sizes = dict(sizes)
    gpt = GPT2(GPT2Config.from_dict(sizes.pop("gpt2")))
    return ClipCap(ClipCapConfig(**sizes), gpt)


class MLP(nn.Module):
    """Linear, tanh, linear: (B, D) -> (B, P*E)."""

    def __init__(self, size: int, hidden: int, out: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Linear(size, hidden), nn.Tanh(), nn.Linear(hidden, out))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class TransformerMapper(nn.Module):
    """Makes `clip_len` tokens of the embedding and appends the learned constant, whose outputs it returns.

    With a `clip_len` of 0 the features are tokens already, such as patches; each is projected separately.
    """

    def __init__(
        self, size: int, width: int, prefix_len: int, clip_len: int, layers: int, heads: int
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"the mapping's {heads} heads do not divide GPT-2's width of {width}")
        self.linear = nn.Linear(size, (clip_len or 1) * width)
        self.prefix_const = nn.Parameter(torch.randn(prefix_len, width))
        self.transformer = Transformer(width, layers, heads)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D), or (B, L, D) of tokens -> (B, P, E)"""
        tokens = self.linear(x).view(len(x), -1, self.prefix_const.shape[1])  # (B, L, E)
        constant = self.prefix_const.expand(len(x), -1, -1).to(tokens.dtype)  # (B, P, E)
        return self.transformer(torch.cat([tokens, constant], dim=1))[:, tokens.shape[1] :]  # (B, P, E)


class Transformer(nn.Module):
    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(width, heads) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class TransformerLayer(nn.Module):
    """Pre-norm attention among all tokens, then a ReLU MLP twice as wide."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_queries = nn.Linear(width, width, bias=False)
        self.to_keys_values = nn.Linear(width, 2 * width, bias=False)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q = self.to_queries(x).view(batch, length, self.heads, -1).transpose(1, 2)  # (B, h, S, d)
        kv = self.to_keys_values(x).view(batch, length, 2, self.heads, -1)
        k, v = kv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, h, S, d) each
        out = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.project(out.transpose(1, 2).reshape(batch, length, width))


class FeedForward(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(torch.relu(self.fc1(x)))
