"""Baselines beside a captioner's scores: people, retrieval, one caption for all, and chance.

- humans: each reference against the image's others, one leave-one-out fold a reference. The folds' scores
  are averaged.
- nearest: a caption of the nearest training image, by cosine of the features (Devlin et al. 2015).
- most_common: the most frequent training caption, for every image.
- random: a random training caption for every image.

A fold has one reference fewer than the captioners have, and scores rise with the number of references (BLEU's
and METEOR's most). So the captioners are also scored `with_one_fewer`; compare that score with the humans'.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

Tokens = Mapping[str, Sequence[str]]
FOLDS = 5
BLOCK = 2048  # training images compared at once


def humans(references: Tokens) -> list[tuple[dict[str, list[str]], dict[str, str]]]:
    """Leave-one-out folds of (references, candidates): fold j scores reference j (modulo their number).

    Images with a single reference are left out. If every image has one reference only, there are no folds.
    """
    several = {i: list(texts) for i, texts in references.items() if len(texts) > 1}
    folds = min(FOLDS, max(map(len, several.values()), default=0))
    return [_without(several, dict.fromkeys(several, j)) for j in range(folds)]


def with_one_fewer(
    references: Tokens, candidates: Mapping[str, str]
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The candidates with one reference fewer, as in a fold of `humans`: image n loses its n-th (modulo)."""
    several = {i: list(texts) for i, texts in references.items() if len(texts) > 1}
    fewer, _ = _without(several, {i: n for n, i in enumerate(several)})
    return fewer, {i: candidates[i] for i in several}


def _without(
    references: Mapping[str, list[str]], numbers: Mapping[str, int]
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Each image's references without the one of this number (modulo their count), and that one."""
    fewer, taken = {}, {}
    for i, texts in references.items():
        out = numbers[i] % len(texts)
        fewer[i], taken[i] = texts[:out] + texts[out + 1 :], texts[out]
    return fewer, taken


def nearest(
    train: Tokens, test: Sequence[str], load: Callable[[list[str]], np.ndarray], seed: int
) -> dict[str, str]:
    """For each test image, a random caption (by `seed`) of the training image nearest by cosine.

    load: ids -> features (N, D), or a grid (N, H, W, D), which is averaged; for example `FeatureStore.load`.
    """
    ids, generator, result = [i for i in train if train[i]], np.random.default_rng(seed), {}
    queries = _directions(list(test), load)
    best, closest = np.full(len(test), -np.inf), np.zeros(len(test), dtype=int)
    for start in range(0, len(ids), BLOCK):
        alike = queries @ _directions(ids[start : start + BLOCK], load).T  # (T, D) @ (D, BLOCK) -> (T, BLOCK)
        rows = alike.argmax(axis=1)
        values = alike[np.arange(len(test)), rows]
        better = values > best
        best[better], closest[better] = values[better], rows[better] + start
    for image, row in zip(test, closest, strict=True):
        captions = train[ids[row]]
        result[image] = captions[generator.integers(len(captions))]
    return result


def most_common(train: Tokens, test: Sequence[str]) -> dict[str, str]:
    """The most frequent training caption; ties go to the first one."""
    [(caption, _)] = Counter(text for texts in train.values() for text in texts).most_common(1)
    return dict.fromkeys(test, caption)


def random(train: Tokens, test: Sequence[str], seed: int) -> dict[str, str]:
    """For each test image a training caption, drawn with replacement."""
    captions = [text for texts in train.values() for text in texts]
    drawn = np.random.default_rng(seed).integers(len(captions), size=len(test))
    return {image: captions[i] for image, i in zip(test, drawn, strict=True)}


def _directions(ids: list[str], load: Callable[[list[str]], np.ndarray]) -> np.ndarray:
    """Features of length 1, float32 (N, D); a zero row stays zero."""
    parts = []
    for start in range(0, len(ids), 256):  # a grid is large, so it is averaged before the next one is read
        features = load(ids[start : start + 256]).astype(np.float32)
        if features.ndim > 2:
            # (B, H, W, D) -> (B, D)
            features = features.reshape(len(features), -1, features.shape[-1]).mean(axis=1)
        parts.append(features)
    features = np.concatenate(parts)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
