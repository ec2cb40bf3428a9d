"""Image features as the decoders take them: of mean 0 and variance 1 in training, and some of them dropped."""

import torch
from torch import Tensor, nn

LEAST = 0.1  # of the mean standard deviation: a feature that hardly varies is not blown up further
ROWS = 1024  # that are float64 at once


class Standardize(nn.Module):
    """Each feature less its mean, over its standard deviation; dropout then puts the mean in its place.

    Features of a classifier, and a contrastive model's embeddings, too, are mostly what all images have in common. A
    step of Adam moves all weights by about as much, so that behind such features it moves the output of all images at
    once, by far more than what tells them apart: cross-entropy bears that, self-critical training diverges.

    Args:
        size: features of an image, or of each cell of its grid.
        dropout: share of them.
        stored: whether the state dict has mean and standard deviation; published checkpoints do not.
    """

    def __init__(self, size: int, dropout: float = 0.0, stored: bool = True) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size), persistent=stored)
        self.register_buffer("std", torch.ones(size), persistent=stored)
        self.dropout = nn.Dropout(dropout)

    @torch.no_grad()
    def fit(self, features: Tensor) -> "Standardize":
        """Takes mean and standard deviation from training features (N, D) or (N, H, W, D), in any floating type."""
        rows = features.flatten(0, -2)  # (M, D)
        mean = sum(part.double().sum(0) for part in rows.split(ROWS)) / len(rows)
        std = (sum((part.double() - mean).square().sum(0) for part in rows.split(ROWS)) / len(rows)).sqrt()
        std = std.clamp(min=LEAST * std.mean())
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 0, std, 1.0))
        return self

    def forward(self, features: Tensor) -> Tensor:
        return self.dropout((features.to(self.mean.dtype) - self.mean) / self.std)

    def drop(self, features: Tensor) -> Tensor:
        """Features of which `forward` without dropout makes what `forward` with dropout makes of these."""
        return self.mean + self.std * self(features)
