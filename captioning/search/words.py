"""A caption's tokens as the words that people read, each with its probability."""

from __future__ import annotations

from collections.abc import Iterable


def words(tokens: Iterable[tuple[str, float]]) -> list[tuple[str, float, int]]:
    """(text, probability, tokens) of each word; the texts put together are the caption.

    Args:
        tokens: what each adds to the text (`captioning.search.explain.pieces`), and its probability given
            those before it. One that begins with a blank begins a word, as the tokenizers have it; a word's
            probability is the product of its tokens'.
    """
    found: list[tuple[str, float, int]] = []
    for piece, probability in tokens:
        if found and not piece[:1].isspace():
            text, before, count = found.pop()
            found.append((text + piece, before * probability, count + 1))
        else:
            found.append((piece, probability, 1))
    return found
