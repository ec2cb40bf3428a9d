"""Image features for the decoders: standardised to mean 0 and variance 1, with dropout in training."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

# A share of the mean standard deviation: the lower limit, so that nearly constant features do not grow.
LEAST = 0.1
ROWS = 1024  # rows that are converted to float64 at once


class Standardize(nn.Module):
    """Subtracts each feature's mean and divides by its standard deviation.

    Dropout then replaces a feature by its mean.

    Features of a classifier or a contrastive model are mostly alike for all images. A step of Adam moves all
    weights by about the same amount. Without standardisation it changes the output for all images at once, by
    far more than the differences between them. Cross-entropy tolerates that; self-critical training diverges.

    Args:
        size: features of an image, or of each cell of its grid.
        dropout: the share of features that are dropped.
        stored: whether the state dict contains mean and standard deviation; published checkpoints have
            neither.
    """

    def __init__(self, size: int, dropout: float = 0.0, stored: bool = True) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size), persistent=stored)
        self.register_buffer("std", torch.ones(size), persistent=stored)
        self.dropout = nn.Dropout(dropout)

    @torch.no_grad()
    def fit(self, features: Tensor | Iterable[Tensor]) -> "Standardize":
        """Sets mean and standard deviation from training features (N, D) or (N, H, W, D), any float type.

        Features that do not fit in memory come in parts, over which `fit` iterates twice.
        """

        def parts() -> Iterator[Tensor]:
            for several in [features] if isinstance(features, Tensor) else features:
                yield from several.flatten(0, -2).split(ROWS)  # (ROWS, D) each

        rows = total = 0
        for part in parts():
            rows, total = rows + len(part), total + part.double().sum(0)
        mean = total / rows
        std = (sum((part.double() - mean).square().sum(0) for part in parts()) / rows).sqrt()
        std = std.clamp(min=LEAST * std.mean())
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 0, std, 1.0))
        return self

    def forward(self, features: Tensor) -> Tensor:
        """Features (..., D) of any float type -> standardised features (..., D)."""
        return self.dropout((features.to(self.mean.dtype) - self.mean) / self.std)

    def drop(self, features: Tensor) -> Tensor:
        """Applies dropout to raw features.

        `forward` without dropout then returns what `forward` with dropout would return.
        """
        return self.mean + self.std * self(features)
