"""Whether captions differ from each other and from the training captions, how long they are, and what is rare."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from captioning.labels import FUNCTION_WORDS

Tokens = Mapping[str, Sequence[str]]
BINS = 5


def variety(captions: Mapping[str, str], train: Tokens) -> dict[str, float]:
    """How varied one caption an image is: {image id: tokens}. A collapsed captioner shows here at once.

    distinct_1, distinct_2: different words and pairs of words / all of them (Li et al. 2016); they fall with the number
    of captions, so compare them on the same images. vocabulary: different words. distinct_captions: share of captions
    that no other image has. copied: share that is a training caption, word for word. mean_words: length.
    """
    words = [text.split() for text in captions.values()]
    pairs = [pair for said in words for pair in itertools.pairwise(said)]
    singles = [word for said in words for word in said]
    counts, known = Counter(captions.values()), {text for texts in train.values() for text in texts}
    return {
        "distinct_1": len(set(singles)) / max(1, len(singles)),
        "distinct_2": len(set(pairs)) / max(1, len(pairs)),
        "vocabulary": len(set(singles)),
        "distinct_captions": len(counts) / len(captions),
        "copied": sum(text in known for text in captions.values()) / len(captions),
        "mean_words": len(singles) / len(captions),
    }


def exact(captions: Mapping[str, str], references: Tokens) -> float:
    """Share of captions that are, word for word, a reference of their own image. People's: a few in a hundred."""
    return sum(text in references[image] for image, text in captions.items()) / len(captions)


def averaged(folds: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of several sets of captions, such as people's, each reference in its turn."""
    return {key: float(np.mean([fold[key] for fold in folds])) for key in folds[0]}


def lengths(systems: Mapping[str, Sequence[str]]) -> list[dict[str, float]]:
    """Rows {words, NAME: share of its captions with so many words}, from the shortest caption to the longest."""
    counts = {name: Counter(len(text.split()) for text in texts) for name, texts in systems.items()}
    every = sorted(set().union(*counts.values()))
    return [
        {"words": n} | {name: round(found[n] / found.total(), 4) for name, found in counts.items()}
        for n in range(every[0], every[-1] + 1)
    ]


def rarity(train: Tokens, references: Tokens) -> dict[str, int]:
    """For each image how many training images show what it shows: the rarest content word that people agree on.

    A word counts when two of the image's references have it, or any where no two agree. The number is that of training
    images with the word in a caption.
    """
    shown = Counter(word for texts in train.values() for word in set(" ".join(texts).split()))
    result = {}
    for image, texts in references.items():
        said = Counter(word for text in texts for word in set(text.split()) - FUNCTION_WORDS if word.isalpha())
        agreed = [word for word, times in said.items() if times > 1] or list(said)
        result[image] = min((shown[word] for word in agreed), default=0)
    return result


def by_rarity(rare: Mapping[str, int], scores: Mapping[str, Mapping[str, float]]) -> list[dict[str, float]]:
    """Rows {training_images, images, NAME: mean score}, the images in bins of like rarity, rarest first."""
    order = sorted(rare, key=lambda image: (rare[image], image))
    rows = []
    for part in np.array_split(np.arange(len(order)), min(BINS, len(order))):
        images = [order[i] for i in part]
        means = {name: round(float(np.mean([of[i] for i in images])), 4) for name, of in scores.items()}
        rows.append({"training_images": float(np.median([rare[i] for i in images])), "images": len(images)} | means)
    return rows
