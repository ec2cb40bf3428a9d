"""Captions as CLIP's own tokens."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from torch import Tensor

STEP = 8  # lengths are multiples of it, so there are few shapes


def tokenize(captions: Sequence[str], context_length: int) -> Tensor:
    """Tokens (N, L) int64: start, caption, end, zeros. Captions longer than the context are cut."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # clip imports pkg_resources, which warns that it is deprecated
        import clip
    return clip.tokenize(list(captions), context_length, truncate=True).long()


def trim(tokens: Tensor) -> Tensor:
    """Drops columns of (..., L) that no caption reaches; the text tower would compute them in vain.

    Embeddings stay the same up to rounding: attention is causal, and a caption's embedding is read at its
    end. Flickr8k's captions have 14 tokens on average, and the longest of 256 has 30, in a context of 77.
    """
    longest = int(tokens.argmax(dim=-1).max()) + 1  # the end has the highest number
    return tokens[..., : -(-longest // STEP) * STEP]
