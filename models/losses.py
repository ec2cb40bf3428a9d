"""The input and output of both decoders' `loss`: captions as one padded tensor, the loss as sum and count.

Captions are `(B, C, T)` int64: B images with C captions each. Every caption is its token ids, the end-of-text
token, and then `PAD` (-100). An image with fewer than C captions has rows that contain only `PAD`. There is
no start token: the image (LSTM) or the last position of the prefix (ClipCap) predicts the first token.
"""

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

PAD = -100
ROUND = 32  # large matrices have a multiple of this many rows: oneDNN keeps a kernel for every bf16 size


class Loss(NamedTuple):
    """A batch's loss as a sum, so that batches of different sizes can be averaged with correct weights."""

    total: Tensor  # () float32, differentiable: summed cross-entropy in nats, and the model's regulariser
    tokens: Tensor  # () int64: the number of target tokens

    @property
    def mean(self) -> Tensor:
        """Loss per token, which training minimises and curves show."""
        return self.total / self.tokens.clamp(min=1)


class Targets(NamedTuple):
    """The target tokens and the positions that predict them, without padding."""

    first: Tensor  # (B, C) bool: captions that exist; the image alone predicts their first token
    inside: Tensor  # (B, C, T-1) bool: tokens that are inputs: all but each caption's last
    tokens: Tensor  # (M,) int64: all first tokens, all successors of `inside` in row-major order, then PAD
    count: int  # the number of `tokens` that are not padding
    weights: Tensor | None  # (M,) float32: the weight of each token's cross-entropy in the sum; None: 1


def targets_of(captions: Tensor, weights: Tensor | None = None) -> Targets:
    """Splits captions (B, C, T) into inputs and targets; `weights` (B, C) are the weights of captions."""
    first = captions[..., 0] >= 0  # (B, C)
    inside = captions[..., 1:] >= 0  # (B, C, T-1): a token is an input if another one follows it
    tokens = torch.cat([captions[..., 0][first], captions[..., 1:][inside]])
    spare = (0, -len(tokens) % ROUND)
    if weights is not None:
        weights = F.pad(torch.cat([weights[first], weights[..., None].expand(inside.shape)[inside]]), spare)
    return Targets(first, inside, F.pad(tokens, spare, value=PAD), len(tokens), weights)


class Scored(Protocol):
    """What a loss needs, from `Targets` or from packed captions (`models.packed_runs.PackedRuns`)."""

    tokens: Tensor
    weights: Tensor | None
    count: int | Tensor


def cross_entropy(logits: Tensor, targets: Scored, smoothing: float = 0.0) -> Loss:
    """Summed cross-entropy of logits (M, V), computed in float32; weighted if the targets have weights."""
    reduction = "sum" if targets.weights is None else "none"
    total = F.cross_entropy(
        logits.float(), targets.tokens, ignore_index=PAD, reduction=reduction, label_smoothing=smoothing
    )
    if targets.weights is not None:
        total = (total * targets.weights).sum()
    return Loss(total, torch.as_tensor(targets.count, device=logits.device))


# ---- without holding more than one copy of all logits ------------------------------------------------------

COLUMNS = {"cpu": 1, "cuda": 64}  # the logits are padded to a multiple: tensor cores need aligned rows
# Rows whose softmax is in memory at once; 64 rows of GPT-2's take 13 MB in float32.
CHUNK = {"cpu": 64, "cuda": 2048}


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    rows: Tensor,
    tokens: Tensor,
    weights: Tensor | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Summed cross-entropy of tokens under `softmax(hidden @ weight.T)`, the softmax in float32.

    The gradient replaces the logits in memory, chunk by chunk. Autograd would keep several copies of all
    logits.

    Args:
        hidden: (R, E).
        weight: (V, E), the vocabulary's matrix.
        rows: (M,) the row of `hidden` that predicts each target. A row may predict several targets, or none.
        tokens: (M,) the targets.
        weights: (M,) the weight of each target in the sum. None: 1.
        smoothing: share of the target's probability that is spread over the vocabulary.
    """
    if weights is None:
        weights = torch.ones(rows.shape, device=rows.device)
    return _LinearCrossEntropy.apply(
        hidden, weight, rows, tokens, weights, smoothing, torch.is_grad_enabled()
    )


def _product(x: Tensor, matrix: Tensor) -> Tensor:
    """(R, E), (V, E) -> (R, V). Rows are padded to aligned starts: products into them are a third faster.

    The padding is zero, since a product of these rows may read it. oneDNN's product with AMX multiplies it by
    zero, and zero times NaN is NaN.
    """
    if torch.compiler.is_compiling():  # the compiler ignores the strides of `out`
        return x @ matrix.T
    columns = len(matrix)
    room = x.new_empty(len(x), columns + -columns % 64)
    room[:, columns:].zero_()
    return torch.mm(x, matrix.T, out=room[:, :columns])


def _cross_entropy_(
    logits: Tensor,
    row: Tensor,
    tokens: Tensor,
    counts: Tensor,
    share: Tensor,
    smoothing: float,
    training: bool,
) -> Tensor:
    """Summed cross-entropy of logits (r, V), computed in float32.

    In training, overwrites logits with their gradient.

    Args:
        row, tokens, counts: (M,) the row that predicts each target, the target, and its weight.
        share: (r, 1) the sum of the weights of a row's targets.
    """
    logs = logits.float().log_softmax(1)  # (r, V)
    total = (smoothing - 1) * (logs[row, tokens] * counts).sum()
    if smoothing:
        total -= smoothing * (logs.mean(1, keepdim=True) * share).sum()
    if training:
        slopes = logs.exp_()
        if smoothing:
            slopes.sub_(smoothing / logits.shape[1])
        slopes.mul_(share).index_put_((row, tokens), (smoothing - 1) * counts, accumulate=True)
        logits.copy_(slopes)
    return total


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, rows, tokens, weights, smoothing, training):
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
        with torch.autocast(kind, enabled=False):
            x, matrix, size = hidden.to(dtype), weight.to(dtype), len(weight)
            if spare := -size % COLUMNS.get(kind, 1):
                matrix = F.pad(matrix, (0, 0, 0, spare))  # (V + spare, E)
            weights = weights.float()
            # (R,) weight of each row's targets
            share = weights.new_zeros(len(x)).index_add_(0, rows, weights)
            of_hidden, of_weight = (training and wanted for wanted in ctx.needs_input_grad[:2])
            gradient = torch.empty_like(x) if of_hidden else None  # (R, E)
            total, chunk, kept = weights.new_zeros(()), CHUNK.get(kind, 64), None
            at_once = len(x) or 1 if of_weight else chunk  # the weight's gradient needs all logits
            for start in range(0, len(x), at_once):
                block = slice(start, start + at_once)
                logits = _product(x[block], matrix)  # (r, V + spare)
                for first in range(start, start + len(logits), chunk):  # the gradient overwrites the logits
                    part = logits[first - start : first - start + chunk]
                    here = (rows >= first) & (rows < first + len(part))
                    row, counts = (rows - first).clamp(0, len(part) - 1), weights * here  # (M,) each
                    of_row = share[first : first + len(part), None]  # (r, 1)
                    total += _cross_entropy_(
                        part[:, :size], row, tokens, counts, of_row, smoothing, of_hidden or of_weight
                    )
                    part[:, size:].zero_()
                if gradient is not None:
                    torch.mm(logits, matrix, out=gradient[block])
                kept = logits if of_weight else None
        ctx.save_for_backward(gradient, kept, x if kept is not None else None)
        ctx.dtypes, ctx.size = (hidden.dtype, weight.dtype), size
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, outer):
        gradient, kept, x = ctx.saved_tensors
        of_hidden = None if gradient is None else (gradient * outer).to(ctx.dtypes[0])
        of_weight = None if kept is None else (kept.T @ (x * outer).to(x.dtype))[: ctx.size].to(ctx.dtypes[1])
        return of_hidden, of_weight, None, None, None, None, None
