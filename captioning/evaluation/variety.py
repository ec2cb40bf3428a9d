"""How captions differ from each other and from training captions, how long and how rare they are."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import BleuScorer

from captioning.data.content_words import FUNCTION_WORDS
from captioning.metrics.cider import CiderD

Tokens = Mapping[str, Sequence[str]]
BINS = 5


def variety(captions: Mapping[str, str], train: Tokens) -> dict[str, float]:
    """How varied the captions {image id: tokens} are, one per image. Reveals a collapsed captioner.

    distinct_1, distinct_2: different words and word pairs / all of them (Li et al. 2016). They fall with the
    number of captions, so compare them on the same images. vocabulary: number of different words.
    distinct_captions: share of captions that no other image has. copied: share of exact training captions.
    mean_words: mean length.
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
    """Share of captions that equal a reference of their own image. For people it is a few in a hundred."""
    return sum(text in references[image] for image, text in captions.items()) / len(captions)


def averaged(folds: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean over several sets of captions, such as people's folds."""
    return {key: float(np.mean([fold[key] for fold in folds])) for key in folds[0]}


def lengths(systems: Mapping[str, Sequence[str]]) -> list[dict[str, float]]:
    """Rows {words, NAME: share of NAME's captions with that many words}, from the shortest to the longest."""
    counts = {name: Counter(len(text.split()) for text in texts) for name, texts in systems.items()}
    every = sorted(set().union(*counts.values()))
    return [
        {"words": n} | {name: found[n] / found.total() for name, found in counts.items()}
        for n in range(every[0], every[-1] + 1)
    ]


def rarity(train: Tokens, references: Tokens) -> dict[str, int]:
    """How many training images have each image's rarest content word in a caption.

    A word counts if two of the image's references have it, or, if no two agree, if one has it.
    """
    shown = Counter(word for texts in train.values() for word in set(" ".join(texts).split()))
    result = {}
    for image, texts in references.items():
        content = (word for text in texts for word in set(text.split()) - FUNCTION_WORDS)
        said = Counter(word for word in content if word.isalpha())
        agreed = [word for word, times in said.items() if times > 1] or list(said)
        result[image] = min((shown[word] for word in agreed), default=0)
    return result


def by_rarity(rare: Mapping[str, int], scores: Mapping[str, Mapping[str, float]]) -> list[dict[str, float]]:
    """Rows {training_images, images, NAME: mean score}: images in bins of similar rarity, rarest first."""
    order = sorted(rare, key=lambda image: (rare[image], image))
    rows = []
    for part in np.array_split(np.arange(len(order)), min(BINS, len(order))):
        images = [order[i] for i in part]
        means = {name: float(np.mean([of[i] for i in images])) for name, of in scores.items()}
        rows.append(
            {"training_images": float(np.median([rare[i] for i in images])), "images": len(images)} | means
        )
    return rows


Sets = Mapping[str, Sequence[str]]  # {image id: captions, as PTB tokens separated by blanks}


def diversity(sets: Sets, train: Sets) -> dict[str, float]:
    """Diversity scores, which need no references. Images with fewer than two captions are left out."""
    several = {image: list(texts) for image, texts in sets.items() if len(texts) > 1}
    if not several:
        return {}
    words = {image: [text.split() for text in texts] for image, texts in several.items()}
    pairs = {image: [list(itertools.pairwise(one)) for one in said] for image, said in words.items()}
    captions = [text for texts in several.values() for text in texts]
    known = {text for texts in train.values() for text in texts}
    return {
        "captions": float(np.mean([len(texts) for texts in several.values()])),
        "distinct": float(np.mean([len(set(texts)) / len(texts) for texts in several.values()])),
        "div_1": float(np.mean([_different(said, said) for said in words.values()])),
        "div_2": float(np.mean([_different(pairs[image], said) for image, said in words.items()])),
        "mbleu_4": mutual_bleu(several),
        "vocabulary": len({word for said in words.values() for one in said for word in one}),
        "copied": sum(text in known for text in captions) / len(captions),
    }


def mutual_bleu(sets: Sets) -> float:
    """BLEU-4 of each caption against its image's others: a corpus score for each position, then the mean."""
    scores = []
    for place in range(max(map(len, sets.values()))):
        bleu = BleuScorer(n=4)
        for texts in sets.values():
            if place < len(texts):
                bleu += (texts[place], [*texts[:place], *texts[place + 1 :]])
        scores.append(bleu.compute_score(option="closest", verbose=0)[0][3])
    return float(np.mean(scores))


def oracle(sets: Sets, references: Sets) -> dict[str, np.ndarray]:
    """Mean and maximum CIDEr over each image's captions: {mean_cider, best_cider}, (N,) each."""
    scorer = CiderD(references.values())
    scores = [scorer.scores(references[image], texts) for image, texts in sets.items()]
    return {
        "mean_cider": np.array([np.mean(of_image) for of_image in scores]),
        "best_cider": np.array([max(of_image) for of_image in scores]),
    }


def _different(items: Sequence[Sequence], words: Sequence[Sequence[str]]) -> float:
    """Number of different items in a set's captions / number of its words."""
    return len({item for of_caption in items for item in of_caption}) / max(1, sum(map(len, words)))
