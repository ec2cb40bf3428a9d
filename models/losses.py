"""What both decoders' `loss` takes and gives back: captions as one padded tensor, the loss as a sum and a count.

Captions come as `(B, C, T)` int64: B images, C captions each, every caption's token ids followed by the end-of-text
token and then by `PAD` (-100). An image with fewer than C captions has rows of `PAD` only. There is no start token: the
image (LSTM) or the last position of the prefix (ClipCap) predicts the first one.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

PAD = -100
ROUND = 64  # rows of large matrices come in multiples of this: oneDNN keeps a kernel for every size it has met in bf16


class Loss(NamedTuple):
    """A batch's loss as a sum, so that batches of different sizes can be averaged with the right weights."""

    total: Tensor  # () float32, differentiable: cross-entropy in nats, summed, plus the model's own regulariser if any
    tokens: Tensor  # () int64: how many target tokens were scored

    @property
    def mean(self) -> Tensor:
        """Loss per token: what training minimises and what curves show."""
        return self.total / self.tokens.clamp(min=1)


class Targets(NamedTuple):
    """Which token is predicted from where, without padding."""

    first: Tensor  # (B, C) bool: captions that exist; their first token is predicted from the image alone
    inside: Tensor  # (B, C, T-1) bool: tokens that are inputs, that is all but each caption's last
    tokens: Tensor  # (M,) int64: all first tokens, then the successors of all `inside`, in row-major order, then PAD
    count: int  # how many of `tokens` are no padding
    weights: Tensor | None  # (M,) float32: of each token's cross-entropy in the sum; None: 1


def targets_of(captions: Tensor, weights: Tensor | None = None) -> Targets:
    """Splits captions (B, C, T) into inputs and targets; `weights` (B, C) are of each caption's tokens."""
    first = captions[..., 0] >= 0  # (B, C)
    inside = captions[..., 1:] >= 0  # (B, C, T-1): a token is an input when another one follows it
    tokens = torch.cat([captions[..., 0][first], captions[..., 1:][inside]])
    spare = (0, -len(tokens) % ROUND)
    if weights is not None:
        weights = F.pad(torch.cat([weights[first], weights[..., None].expand(inside.shape)[inside]]), spare)
    return Targets(first, inside, F.pad(tokens, spare, value=PAD), len(tokens), weights)


def cross_entropy(logits: Tensor, targets: Targets, smoothing: float = 0.0) -> Loss:
    """Summed cross-entropy of logits (M, V) in float32, whatever the logits' type; weighted where targets are."""
    reduction = "sum" if targets.weights is None else "none"
    total = F.cross_entropy(
        logits.float(), targets.tokens, ignore_index=PAD, reduction=reduction, label_smoothing=smoothing
    )
    if targets.weights is not None:
        total = (total * targets.weights).sum()
    return Loss(total, torch.tensor(targets.count, device=logits.device))
