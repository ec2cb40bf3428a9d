"""CIDEr-D as a reward: it scores the 80 captions of a training step in a few milliseconds.

CIDEr (Vedantam et al. 2015, https://arxiv.org/abs/1411.5726) is the cosine between the n-grams of two
captions. Each n-gram is weighted by how rare it is among the references of a corpus. The variant CIDEr-D
clips a candidate's counts to the reference's, and falls as the difference in length grows. coco-caption's
CIDEr is this variant.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

ORDERS = 4  # n-grams of 1 to 4 words
SIGMA = 6.0  # width of the Gaussian over the difference in length, in words
END = "<end>"  # no PTB token is spelt like this

Gram = tuple[str, ...]


class CiderD:
    """CIDEr-D with the document frequencies of one corpus of references.

    Args:
        corpus: for each image its references, as PTB tokens separated by blanks.
        count_end: counts the end of a caption as a word, in candidates and references. A reward needs that:
            without it a caption that stops too soon ("a dog in a") scores as well as a whole one, and
            training exploits it.
    """

    def __init__(self, corpus: Iterable[Sequence[str]], count_end: bool = False) -> None:
        self.count_end = count_end
        images, documents = 0, Counter()
        for references in corpus:
            images += 1
            documents.update({gram for text in references for grams in self._grams(text) for gram in grams})
        if not images:
            raise ValueError("CIDEr-D needs a corpus of one image or more")
        # The weight of an n-gram that one image or none has. Most n-grams have it; `weights` has the others'.
        self.rarest = math.log(images)
        self.weights = {gram: self.rarest - math.log(count) for gram, count in documents.items() if count > 1}

    def scores(self, references: Sequence[str], candidates: Sequence[str]) -> list[float]:
        """Scores candidates against all references of an image, as tokens: 0 to 10, coco-caption's scale.

        Deterministic to the last digit. Equal to pycocoevalcap's scores, up to rounding, for the same corpus.
        """
        # N-gram -> which references have it, and its weights.
        wanted: dict[Gram, list[tuple[int, float, float]]] = {}
        lengths = []
        for which, reference in enumerate(references):
            grams = self._grams(reference)
            lengths.append(grams[1].total())  # in bigrams, as coco-caption counts
            for weights, norm in map(self._weighted, grams):
                for gram, weight in weights.items():
                    if weight:
                        wanted.setdefault(gram, []).append((which, weight, weight / norm))
        return [self._score(self._grams(candidate), wanted, lengths) for candidate in candidates]

    def says_nothing(self, images: Iterable[Sequence[str]]) -> bool:
        """Whether every caption of these images, given by their references, scores 0.

        This happens if the corpus has one image, or if all its images have the same words: no word is rare.
        """
        return not any(any(self.scores(references, references)) for references in images)

    def _score(self, grams: list[Counter[Gram]], wanted: dict, lengths: list[int]) -> float:
        length, total = grams[1].total(), 0.0
        fading = [math.exp(-((length - its_length) ** 2) / (2 * SIGMA**2)) for its_length in lengths]
        for weights, norm in map(self._weighted, grams):
            product = 0.0
            for gram, weight in weights.items():
                for which, its_weight, its_share in wanted.get(gram, ()):
                    product += min(weight, its_weight) * its_share * fading[which]
            if product:
                total += product / norm
        return 10 * total / ORDERS / len(lengths)

    def _grams(self, text: str) -> list[Counter[Gram]]:
        """Counts each n-gram, one order at a time."""
        words = text.split()
        if self.count_end:
            words.append(END)
        shifted = [words[i:] for i in range(ORDERS)]
        return [Counter(zip(*shifted[:order], strict=False)) for order in range(1, ORDERS + 1)]

    def _weighted(self, counts: Counter[Gram]) -> tuple[dict[Gram, float], float]:
        """The n-grams of one order with their weights, and the norm of these."""
        weights, rarest = self.weights, self.rarest
        vector = {gram: count * weights.get(gram, rarest) for gram, count in counts.items()}
        return vector, math.hypot(*vector.values())
