"""Facts on `scenes`: compares what a caption says with what is drawn, as precision and recall.

Each drawing is stored with its facts: who, how many, in which colours, doing what, where and when. `scenes`
reads such facts from captions. Precision is the share of a caption's facts that are true. Recall is the share
of a full caption's facts (who, how many, colours, action, place) that the caption has. People do not say
everything, so compare a model's recall with theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from captioning.evaluation.bootstrap import ratio
from scenes.reading import CATEGORIES, mentioned, true_of

ALL = "all"


def counts(captions: Mapping[str, str], facts: Mapping[str, dict]) -> np.ndarray:
    """(N, categories, 4) counts: labels said, true labels among them, core facts, core facts named."""
    table = np.zeros((len(captions), len(CATEGORIES), 4))
    for row, (image, caption) in enumerate(captions.items()):
        said, true = mentioned(caption), true_of(facts[image])
        for column, category in enumerate(CATEGORIES):
            labels = said[category]
            core = [group for kind, group in true["core"] if kind == category]
            right = sum(label in true[category] for label in labels)
            named = sum(any(label in labels for label in group) for group in core)
            table[row, column] = len(labels), right, len(core), named
    return table


def fact_scores(folds: Sequence[Mapping[str, str]], facts: Mapping[str, dict], count: int, seed: int) -> dict:
    """{category or "all": {"precision": {value, low, high}, "recall": ...}} of folds over the same images.

    A category that no caption mentions has no precision. A category that a full caption does not name (time)
    has no recall.
    """
    table = np.mean([counts(fold, facts) for fold in folds], axis=0)  # (N, categories, 4)
    parts = {ALL: table.sum(axis=1)} | {name: table[:, n] for n, name in enumerate(CATEGORIES)}  # (N, 4) each
    result = {}
    for name, part in parts.items():
        said, right, core, named = part.T
        pairs = {"precision": (right, said), "recall": (named, core)}
        known = {key: pair for key, pair in pairs.items() if pair[1].any()}
        result[name] = {key: ratio(*pair, count, seed) for key, pair in known.items()}
    return result


def wrong(captions: Mapping[str, str], facts: Mapping[str, dict]) -> dict[str, list[str]]:
    """For each image the labels that its caption says and the drawing contradicts."""
    result = {}
    for image, caption in captions.items():
        said, true = mentioned(caption), true_of(facts[image])
        pairs = [(category, label) for category in CATEGORIES for label in said[category]]
        result[image] = [label for category, label in pairs if label not in true[category]]
    return result
