"""Captions as CLIP's own tokens."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from torch import Tensor


def tokenize(captions: Sequence[str], context_length: int) -> Tensor:
    """(N, L) int64: start, the caption, end, zeros; a caption longer than the context is cut."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # clip imports pkg_resources, which warns that it is old
        import clip
    return clip.tokenize(list(captions), context_length, truncate=True).long()
