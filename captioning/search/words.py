"""A caption's tokens as the words that people read, each with its probability."""

from __future__ import annotations

from collections.abc import Iterable


def words(tokens: Iterable[tuple[str, float]]) -> list[tuple[str, float, int]]:
    """(text, probability, number of tokens) of each word. The texts join to the caption.

    A token that begins with a blank begins a word. A word's probability is the product of its tokens'.

    Args:
        tokens: the text that each token adds (`captioning.search.explain.pieces`), and its probability given
            the tokens before it.
    """
    found: list[tuple[str, float, int]] = []
    for piece, probability in tokens:
        if found and not piece[:1].isspace():
            text, before, count = found.pop()
            found.append((text + piece, before * probability, count + 1))
        else:
            found.append((piece, probability, 1))
    return found
