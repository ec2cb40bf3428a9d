"""How much several captions of one image differ, and how good the best of them is.

distinct: different captions of a set / its captions.
div_1, div_2: different words, pairs of words, of a set / all its words (Shetty et al. 2017,
    https://arxiv.org/abs/1703.10476); means over images.
mbleu_4: BLEU-4 of each caption of a set against the set's others: 1 where all are alike (same paper).
vocabulary: different words in all sets. copied: share of the captions that are a training caption, word for word.
mean_cider, best_cider: CIDEr of a set's captions, and of its best, which somebody who knew the references would pick.

All but copied and mean_cider depend on how many captions a set has: compare sets of one size.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import BleuScorer

from captioning.cider_d import CiderD

Sets = Mapping[str, Sequence[str]]  # {image id: captions, as PTB tokens separated by blanks}


def diversity(sets: Sets, train: Sets) -> dict[str, float]:
    """The scores that need no references. Images with fewer than two captions take no part."""
    several = {image: list(texts) for image, texts in sets.items() if len(texts) > 1}
    if not several:
        return {}
    words = {image: [text.split() for text in texts] for image, texts in several.items()}
    captions = [text for texts in several.values() for text in texts]
    known = {text for texts in train.values() for text in texts}
    return {
        "captions": float(np.mean([len(texts) for texts in several.values()])),
        "distinct": float(np.mean([len(set(texts)) / len(texts) for texts in several.values()])),
        "div_1": float(np.mean([_different(said, said) for said in words.values()])),
        "div_2": float(
            np.mean([_different([list(itertools.pairwise(one)) for one in said], said) for said in words.values()])
        ),
        "mbleu_4": mutual_bleu(several),
        "vocabulary": len({word for said in words.values() for one in said for word in one}),
        "copied": sum(text in known for text in captions) / len(captions),
    }


def mutual_bleu(sets: Sets) -> float:
    """BLEU-4 of each caption against its set's others: of all first captions, of all second ones, ...; their mean."""
    scores = []
    for place in range(max(map(len, sets.values()))):
        bleu = BleuScorer(n=4)
        for texts in sets.values():
            if place < len(texts):
                bleu += (texts[place], [*texts[:place], *texts[place + 1 :]])
        scores.append(bleu.compute_score(option="closest", verbose=0)[0][3])
    return float(np.mean(scores))


def oracle(sets: Sets, references: Sets) -> dict[str, np.ndarray]:
    """CIDEr of each image's captions, their mean and their best: {mean_cider, best_cider}, (N,) each."""
    scorer = CiderD(references.values())
    scores = [scorer.scores(references[image], texts) for image, texts in sets.items()]
    return {
        "mean_cider": np.array([np.mean(of_image) for of_image in scores]),
        "best_cider": np.array([max(of_image) for of_image in scores]),
    }


def _different(items: Sequence[Sequence], words: Sequence[Sequence[str]]) -> float:
    """Different items of a set's captions / all its words."""
    return len({item for of_caption in items for item in of_caption}) / max(1, sum(map(len, words)))
