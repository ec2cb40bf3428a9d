"""The conventional captioner: an LSTM started by image features, with or without attention to a grid.

Pooled features: Show and Tell (Vinyals et al. 2015, https://arxiv.org/abs/1411.4555). The projected image is
the LSTM's first input, and its output there predicts the first word. With `merge` the image is also added to
the LSTM's output at every step (Tanti et al. 2018, https://arxiv.org/abs/1703.09137), so the LSTM need not
carry it through the caption.

Grid features: Show, Attend and Tell (Xu et al. 2015, https://arxiv.org/abs/1502.03044), with soft attention.
The projected mean of the grid sets the LSTM's first state and is its first input. Each later input is a word,
and each step attends to the cells of the grid.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import register_dataclass

from models.losses import Loss, cross_entropy
from models.packed_runs import PackedRuns, Runs
from models.packing import packed_by
from models.standardize import Standardize

GROUPS = 4  # groups of captions of similar length that run through the LSTM separately


@dataclass(frozen=True)
class LSTMConfig:
    vocab_size: int
    feature_size: int  # width of the pooled features, or of each cell of the grid
    grid: bool = False  # features are a grid (B, H, W, D), to which the LSTM attends
    embed_dim: int = 512  # width of the word and image embeddings
    hidden_size: int = 512  # width of the LSTM
    merge: bool = False  # pooled: also add the image to the LSTM's output at every step
    attention_dim: int = 512  # grid: width of the attention's hidden layer
    attention_penalty: float = 1.0  # grid: weight of the doubly stochastic regulariser in training
    dropout: float = 0.5  # dropout of word embeddings and LSTM outputs
    image_dropout: float = 0.5  # dropout of features and the image's embedding
    tie_weights: bool = True  # the output layer shares the embeddings; needs embed_dim = hidden_size

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class LSTMState:
    """The state of N captions or beams, one per row; row `b * K + k` is the k-th of image b.

    Images are stored once. Beams that descend from the same beam share its hidden state and cell.

    Attributes:
        hidden, cell: (P, H) each.
        past: (N,) the index into `hidden` and `cell` that each row continues; None: row i continues the i-th.
        image: (B, H) added to each output, if images are merged.
        grid, keys: (B, L, D) and (B, L, A), with attention only.
        width: K.
        recordable: steps have shapes that do not depend on the tokens.
    """

    hidden: Tensor
    cell: Tensor
    image: Tensor | None = None
    grid: Tensor | None = None
    keys: Tensor | None = None
    past: Tensor | None = None
    width: int = 1
    recordable: bool = False

    def of_rows(self, values: Tensor) -> Tensor:
        """Repeats shared values for each row: (P, ...) -> (N, ...)."""
        return values if self.past is None else values.index_select(0, self.past)

    def expand(self, width: int) -> "LSTMState":
        """Repeats each image's row `width` times."""
        self.past = torch.arange(len(self.hidden), device=self.hidden.device).repeat_interleave(width)
        self.width = width
        return self

    def fixed(self, tokens: int) -> "LSTMState":
        """The same rows, for steps that a GPU can record; their number is not limited."""
        hidden, cell = self.of_rows(self.hidden), self.of_rows(self.cell)
        return replace(self, hidden=hidden, cell=cell, past=None, recordable=True)

    def select(self, rows: Tensor) -> "LSTMState":
        """Keeps `rows` (B' * K,), in that order, K rows of an image at a time.

        Images may be dropped, not reordered.
        """
        if len(rows) < len(self.hidden if self.past is None else self.past):
            images = rows.view(-1, self.width)[:, 0] // self.width  # (B',)
            self.image, self.grid, self.keys = (
                x if x is None else x[images] for x in (self.image, self.grid, self.keys)
            )
        kept, self.past = (rows if self.past is None else self.past[rows]).unique(return_inverse=True)
        self.hidden, self.cell = self.hidden[kept], self.cell[kept]
        return self

    def part(self, rows: Tensor) -> "LSTMState":
        """A new state with these rows only, as if each were an image; not for grids."""
        # `index_select` would change the last bits of the image's gradient.
        image = None if self.image is None else self.image[rows // self.width]
        hidden, cell = (self.of_rows(x).index_select(0, rows) for x in (self.hidden, self.cell))
        return LSTMState(hidden, cell, image)

    def go_on(self, hidden: Tensor, cell: Tensor) -> None:
        """Stores the state after a step: (N, H) each, one per row."""
        self.hidden, self.cell, self.past = hidden, cell, None


register_dataclass(LSTMState)  # a GPU's recording finds its tensors


class LSTMDecoder(nn.Module):
    """Image features -> captions; `config.grid` chooses between the two papers."""

    max_tokens = None  # no limit

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__()
        if config.tie_weights and config.embed_dim != config.hidden_size:
            raise ValueError(
                "tie_weights needs embed_dim and hidden_size to be equal: "
                f"{config.embed_dim} and {config.hidden_size}"
            )
        self.config = config
        self.dropout, self.image_dropout = nn.Dropout(config.dropout), nn.Dropout(config.image_dropout)
        self.standardize = Standardize(config.feature_size, config.image_dropout)
        self.image = nn.Linear(config.feature_size, config.embed_dim)
        self.image_norm = nn.LayerNorm(config.embed_dim)
        self.embedding = nn.Embedding(config.vocab_size, config.embed_dim)
        nn.init.normal_(self.embedding.weight, std=0.1)
        if config.grid:
            self.start = nn.Linear(config.embed_dim, 2 * config.hidden_size)
            self.attention = SoftAttention(config.hidden_size, config.feature_size, config.attention_dim)
            self.lstm = nn.LSTMCell(config.embed_dim + config.feature_size, config.hidden_size)
            self.glimpse = nn.Linear(config.feature_size, config.hidden_size)
        else:
            self.lstm = nn.LSTM(config.embed_dim, config.hidden_size, batch_first=True)
            self.merge = nn.Linear(config.feature_size, config.hidden_size) if config.merge else None
            if self.merge:  # no image is merged at first; features of length 1 keep each step small
                nn.init.zeros_(self.merge.weight)
        self.norm = nn.LayerNorm(config.hidden_size)
        if not config.tie_weights:
            self.output = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.output_bias = nn.Parameter(torch.zeros(config.vocab_size))

    def train(self, mode: bool = True) -> "LSTMDecoder":
        """Sets the mode like any module, but keeps `self.lstm` in training mode.

        cuDNN computes no gradients in eval mode. The LSTM has no dropout of its own.
        """
        super().train(mode)
        self.lstm.train()
        return self

    def packing(self, captions: np.ndarray, on_gpu: bool = False) -> Runs:
        """Packs captions (n, C, T), padded with -100, into the batches that `loss` takes.

        On a GPU all captions run together: there, the cost of a step hardly depends on its number of rows.
        """
        return Runs(captions, 1 if self.config.grid or on_gpu else GROUPS)

    def loss(
        self,
        features: Tensor,
        captions: Tensor | PackedRuns,
        label_smoothing: float = 0.0,
        weights: Tensor | None = None,
    ) -> Loss:
        """Cross-entropy of all captions under teacher forcing; each image is processed once.

        Args:
            features: (B, D), or (B, H, W, D) with `config.grid`, in any floating type.
            captions: (B, C, T) int64 token ids, each caption ended by the end-of-text token and padded with
                -100; or a packed batch, which includes the weights.
            weights: (B, C) float32, the weight of each caption's cross-entropy in the sum. None: 1.

        Returns:
            `Loss(total, tokens)`: the sum over the tokens of all captions, and their number. With a grid, in
            training, the sum includes `attention_penalty * sum((1 - attention a cell received) ** 2)` for
            every caption.
        """
        packed = packed_by(self.packing, captions, weights, features.device)
        first, looked, state = self._begin(features)  # (B, H), (B, L)
        teach = self._teach_grid if self.config.grid else self._teach
        hidden, penalty = teach(packed, looked, state.expand(packed.lengths.shape[1]))  # (N, H)
        # (F, H): one row per caption
        firsts = first.index_select(0, packed.present // packed.lengths.shape[1])
        hidden = torch.cat([firsts, hidden])
        hidden = F.pad(hidden, (0, 0, 0, len(packed.tokens) - len(hidden)))  # (M, H)
        loss = cross_entropy(self._logits(hidden), packed, label_smoothing)
        return loss._replace(total=loss.total + penalty)

    def _teach(self, packed: PackedRuns, looked: None, state: LSTMState) -> tuple[Tensor, float]:
        """The LSTM's output after each input token, (N, H).

        Captions of similar length run together to save padding.
        """
        outputs = []
        for words, group in zip(packed.words, packed.order, strict=True):
            if words.shape[1]:
                run = self._run(self.dropout(self.embedding(words)), state.part(group))  # (G, S, H)
                outputs.append(run.flatten(0, 1))
        return torch.cat([state.hidden[:0], *outputs]).index_select(0, packed.inside), 0.0

    def _teach_grid(
        self, packed: PackedRuns, looked: Tensor, state: LSTMState
    ) -> tuple[Tensor, Tensor | float]:
        """The attending LSTM's output after each input, (N, H), and the doubly stochastic regulariser."""
        words = self.dropout(self.embedding(packed.words[0]))  # (B*C, S, E)
        # (B, C, L): attention of all steps so far
        received = looked[:, None].expand(-1, packed.lengths.shape[1], -1)
        outputs = [words.new_zeros(len(words), 0, self.config.hidden_size)]
        for i in range(words.shape[1]):
            hidden, weights = self._attend(words[:, i], state)  # (B*C, H), (B*C, L)
            outputs.append(hidden[:, None])
            received = received + weights.view(received.shape) * (packed.lengths > i)[..., None]
        hidden = torch.cat(outputs, dim=1).flatten(0, 1).index_select(0, packed.inside)  # (N, H)
        if not self.training:
            return hidden, 0.0
        missed = (1 - received.flatten(0, 1).index_select(0, packed.present)) ** 2  # (F, L)
        return hidden, self.config.attention_penalty * (missed * packed.real[:, None].to(missed.dtype)).sum()

    def begin(self, features: Tensor) -> tuple[Tensor, LSTMState]:
        """Features -> the first token's logits (B, V), and a state with one row per image."""
        first, _, state = self._begin(features)
        return self._logits(first), state

    def step(self, tokens: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Feeds one token to each row: (N,) -> (N, V). Changes `state` and returns it."""
        if self.config.grid:
            return self._logits(self._attend(self.embedding(tokens), state)[0]), state
        if state.recordable:
            words, of_row = tokens, torch.arange(len(tokens), device=tokens.device)
        else:
            words, of_row = tokens.unique(return_inverse=True)  # beams often have the same next word
        return self._logits(self._advance(self.embedding(words), of_row, state)), state

    def attention_of(self, features: Tensor, captions: Tensor) -> Tensor:
        """The attention when each token was chosen: (B, H, W, D), (B, T) -> (B, T, H*W); rows sum to 1."""
        _, weights, state = self._begin(features)
        looked = [weights]
        for tokens in captions[:, :-1].unbind(1):
            looked.append(self._attend(self.embedding(tokens), state)[1])
        return torch.stack(looked, dim=1)

    def _begin(self, features: Tensor) -> tuple[Tensor, Tensor | None, LSTMState]:
        """The output that predicts the first token (B, H), the attention (B, L), and the state."""
        wanted, sizes = ("(B, H, W, D)", 4) if self.config.grid else ("(B, D)", 2)
        if features.ndim != sizes or features.shape[-1] != self.config.feature_size:
            raise ValueError(
                f"features must be {wanted} with D = {self.config.feature_size}, not {tuple(features.shape)}"
            )
        features = self.standardize(features)
        pooled = features.flatten(1, -2).mean(1) if self.config.grid else features  # (B, D)
        image = self.image_dropout(self.image_norm(self.image(pooled)))  # (B, E)
        if not self.config.grid:
            merged = self.merge(features * features.shape[1] ** -0.5) if self.merge else None  # (B, H)
            zeros = image.new_zeros(len(image), self.config.hidden_size)
            state = LSTMState(zeros, zeros, merged)
            return self._run(image[:, None], state)[:, 0], None, state
        hidden, cell = torch.tanh(self.start(image)).chunk(2, dim=1)  # (B, H) each
        grid = features.flatten(1, -2)  # (B, L, D)
        state = LSTMState(hidden, cell, grid=grid, keys=self.attention.keys(grid))
        return *self._attend(image, state), state

    def _run(self, inputs: Tensor, state: LSTMState) -> Tensor:
        """Runs the plain LSTM over a whole sequence: (N, S, E) -> (N, S, H).

        If the weights are already cast, their dtype is used. Autocast would copy them into a new block at
        each call.
        """
        dtype, start = self.lstm.bias_ih_l0.dtype, (state.hidden[None], state.cell[None])
        if dtype == torch.float32:
            outputs, (hidden, cell) = self.lstm(inputs, start)
        else:
            with torch.autocast(inputs.device.type, enabled=False):
                outputs, (hidden, cell) = self.lstm(inputs.to(dtype), tuple(x.to(dtype) for x in start))
        state.go_on(hidden.flatten(0, -2), cell.flatten(0, -2))  # (N, H) each
        return outputs if state.image is None else outputs + state.image[:, None]

    def _advance(self, words: Tensor, of_row: Tensor, state: LSTMState) -> Tensor:
        """One step of the plain LSTM: distinct words (U, E), each row's index into them (N,) -> (N, H).

        The gates' terms of equal words and of shared states are computed once.
        """
        into, again, *biases = self.lstm.all_weights[0]
        gates = F.linear(words, into, sum(biases)).index_select(0, of_row)  # (N, 4H)
        gates += state.of_rows(F.linear(state.hidden, again))
        enter, keep, new, show = gates.chunk(4, dim=1)
        cell = torch.sigmoid(keep) * state.of_rows(state.cell) + torch.sigmoid(enter) * torch.tanh(new)
        state.go_on(torch.sigmoid(show) * torch.tanh(cell), cell)
        if state.image is None:
            return state.hidden
        return (state.hidden.unflatten(0, (len(state.image), -1)) + state.image[:, None]).flatten(0, 1)

    def _attend(self, inputs: Tensor, state: LSTMState) -> tuple[Tensor, Tensor]:
        """One step of the attending LSTM: (N, E) -> its output (N, H) and its attention (N, L)."""
        hidden, cell = state.of_rows(state.hidden), state.of_rows(state.cell)
        context, weights = self.attention(hidden, state.grid, state.keys)  # (N, D), (N, L)
        state.go_on(*self.lstm(torch.cat([inputs, context], dim=1), (hidden, cell)))
        return state.hidden + self.glimpse(context), weights

    def _logits(self, hidden: Tensor) -> Tensor:
        weight = self.embedding.weight if self.config.tie_weights else self.output.weight
        return F.linear(self.dropout(self.norm(hidden)), weight, self.output_bias)  # (M, V)


class SoftAttention(nn.Module):
    """Soft attention: an MLP on the state and each cell (Xu et al. 2015, sections 3.1.2 and 4.2)."""

    def __init__(self, hidden_size: int, feature_size: int, attention_dim: int) -> None:
        super().__init__()
        self.key = nn.Linear(feature_size, attention_dim, bias=False)
        self.query = nn.Linear(hidden_size, attention_dim)
        self.score = nn.Linear(attention_dim, 1, bias=False)  # a bias would cancel in the softmax
        self.gate = nn.Linear(hidden_size, 1)

    def keys(self, grid: Tensor) -> Tensor:
        """The part that does not depend on the state, computed once per image: (B, L, D) -> (B, L, A)."""
        return self.key(grid)

    def forward(self, hidden: Tensor, grid: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """States (B*K, H), K per grid, and grids (B, L, D) -> contexts (B*K, D) and weights (B*K, L)."""
        queries = self.query(hidden).view(len(grid), -1, 1, keys.shape[2])  # (B, K, 1, A)
        scores = self.score(torch.tanh(keys[:, None] + queries)).squeeze(3)  # (B, K, L)
        weights = scores.softmax(dim=2)
        context = (weights @ grid).flatten(0, 1)  # (B*K, D)
        return torch.sigmoid(self.gate(hidden)) * context, weights.flatten(0, 1)
