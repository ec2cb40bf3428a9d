"""A request's query: which captioners, how many captions, and the search or sampling settings."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from app.captioner import Caption, Captioner
from captioning.features.images import Preprocess, decode
from captioning.features.pixels import ImageFiles
from captioning.search.words import words

MOST_CAPTIONS, MOST_SEED, HIGHEST = 20, 2**31 - 1, 2.0
METHODS = ("beams", "nucleus")
KEYS = ("captioner", "captions", "method", "temperature", "seed")


class Wanted:
    """A request's query, checked.

    Parameters of the query:
        captioner: one captioner; all by default.
        captions: number of different captions from each; 1 by default.
        method: beams (the most probable) or nucleus (drawn); params.yaml's `generate` by default.
        temperature: for drawn captions; params.yaml's by default.
        seed: for drawn captions; another seed gives others.

    Raises:
        ValueError: a sentence about what is wrong with the query.
    """

    def __init__(self, query: Mapping[str, str], captioners: Mapping[str, Captioner]) -> None:
        if unknown := sorted(set(query) - set(KEYS)):
            raise ValueError(f"no such parameter: {unknown[0][:40]!r}; there are {', '.join(KEYS)}")
        kind, count, method = query.get("captioner"), query.get("captions", "1"), query.get("method")
        if kind is not None and kind not in captioners:
            raise ValueError(f"captioner must be one of {', '.join(captioners)}")
        if count not in map(str, range(1, MOST_CAPTIONS + 1)):
            raise ValueError(f"captions must be a whole number from 1 to {MOST_CAPTIONS}")
        if method is not None and method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}")
        heat, seed = query.get("temperature"), query.get("seed")
        if heat is not None and not (
            re.fullmatch(r"[0-9](\.[0-9]{1,6})?", heat) and 0 < float(heat) <= HIGHEST
        ):
            raise ValueError(f"temperature must be above 0 and at most {HIGHEST:g}")
        if seed is not None and not (re.fullmatch(r"[0-9]{1,10}", seed) and int(seed) <= MOST_SEED):
            raise ValueError(f"seed must be a whole number from 0 to {MOST_SEED}")
        self.captioners = captioners if kind is None else {kind: captioners[kind]}
        self.count, self.method = int(count), method
        self.drawing = {"method": method, "temperature": heat and float(heat)}
        self.seed = seed and int(seed)

    def rows(self, content: bytes) -> list[dict[str, Any]]:
        """A picture's captions, each as a row of `python -m app --out` plus the probabilities of its words.

        Raises ImageFault for an unusable picture.
        """
        return [
            {"model": kind} | caption.row() | {"words": spoken(caption)}
            for kind, captioner in self.captioners.items()
            for caption in self._captions(captioner, content)
        ]

    def _captions(self, captioner: Captioner, content: bytes) -> list[Caption]:
        asked = copy.copy(captioner)
        given = {key: value for key, value in self.drawing.items() if value is not None}
        generate = captioner.how.generate
        generate = generate.model_copy(update={"diverse": generate.diverse.model_copy(update=given)})
        seed = captioner.how.seed if self.seed is None else self.seed
        asked.how = captioner.how.model_copy(update={"generate": generate, "seed": seed})
        # A count of 1 gives the best caption without drawing. To draw one, ask for two and keep the first.
        count = max(self.count, 2) if self.method == "nucleus" else self.count
        return next(asked.each(Sent(content, captioner.encoder.preprocess), count))[: self.count]


class Sent(ImageFiles):
    """A picture that was uploaded as bytes."""

    def __init__(self, content: bytes, preprocess: Preprocess) -> None:
        super().__init__(["the picture"], preprocess)
        self.content = content

    def pixels(self, row: int) -> np.ndarray:
        return decode(self.content, self.preprocess, self.paths[row])


def spoken(caption: Caption) -> list[tuple[str, float]]:
    """The words of a caption and their probabilities, without the end token."""
    tokens = caption.tokens[:-1] if caption.tokens and not caption.tokens[-1].text else caption.tokens
    found = words(tokens)
    return [(text if i else text.lstrip(), round(chance, 4)) for i, (text, chance, _) in enumerate(found)]
