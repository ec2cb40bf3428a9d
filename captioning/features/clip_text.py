"""Captions as CLIP's own tokens."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from torch import Tensor


def tokenize(captions: Sequence[str], context_length: int) -> Tensor:
    """Tokens (N, L) int64: start, caption, end, zeros. Captions longer than the context are cut."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # clip imports pkg_resources, which warns that it is deprecated
        import clip
    return clip.tokenize(list(captions), context_length, truncate=True).long()
