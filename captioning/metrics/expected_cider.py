"""Expected CIDEr-D over weighted references.

`captioning.metrics.cider` scores captions against the few references of one image. Here all captions of a
corpus are references, and each image of the corpus has a weight. N-grams are numbers in arrays, so that a
caption is scored against 30,000 references in a millisecond.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from captioning.metrics.cider import ORDERS, SIGMA

BASE = 2**24  # more than there are words; n-grams of a corpus are fewer than 2**39
NEVER = np.iinfo(np.int64).max  # larger than any n-gram's key


class ExpectedCiderD:
    """CIDEr-D with a corpus's document frequencies, against a weighted sum of the corpus's own references.

    Args:
        corpus: for each image its references, one or more, as PTB tokens separated by blanks.
    """

    def __init__(self, corpus: Sequence[Sequence[str]]) -> None:
        captions = [caption for references in corpus for caption in references]
        self.per_image = np.array([len(references) for references in corpus])  # (N,)
        self.image = np.repeat(np.arange(len(corpus)), self.per_image)  # (C,) the image of each caption
        self.rarest = math.log(len(corpus))
        self.words: dict[str, int] = {}
        for caption in captions:
            for word in caption.split():
                self.words.setdefault(word, len(self.words))
        words, caption = self._numbers(captions)
        self.length = _bigrams(caption, len(captions))  # (C,)
        self.known: list[np.ndarray] = []  # for each order from 2 on, its n-grams as sorted keys
        counted = _counted(words, caption, len(captions), self._found)
        self.postings = [self._post(*of_order) for of_order in counted]

    def scores(self, shares: np.ndarray, candidates: Sequence[str]) -> np.ndarray:
        """Each candidate's CIDEr-D against every image's references, weighted by `shares` and summed: (B,).

        Args:
            shares: (N,) one weight per image of the corpus, of any sign. If one is 1 and the others are 0,
                the scores equal `CiderD.scores` against that image's references, up to float32's rounding.
            candidates: B captions, as tokens.
        """
        share = (shares / self.per_image)[self.image]  # (C,)
        words, caption = self._numbers(candidates)
        length = _bigrams(caption, len(candidates))
        lengths = np.arange(self.length.max() + 1)  # (L,)
        fading = np.exp(-((length[:, None] - lengths) ** 2) / (2 * SIGMA**2))  # (B, L)
        total = np.zeros(len(candidates))
        counted = _counted(words, caption, len(candidates), self._place)
        for order, (gram, caption_of, count) in enumerate(counted):
            posting, known = self.postings[order], gram < len(self.postings[order].rarity)
            rarity = np.full(len(gram), self.rarest)
            rarity[known] = posting.rarity[gram[known]]
            norm = np.sqrt(np.bincount(caption_of, (count * rarity) ** 2, len(candidates)))
            asked, which = np.unique(np.stack([gram[known], count[known]]), axis=1, return_inverse=True)
            met = [posting.meet(*one, share, self.length, len(lengths)) for one in asked.T]  # each (L,)
            if met:
                product = (fading[caption_of[known]] * np.stack(met)[which]).sum(1) * rarity[known]
                norm = np.where(norm > 0, norm, 1)
                total += np.bincount(caption_of[known], product, len(candidates)) / norm
        return 10 * total / ORDERS

    def _numbers(self, captions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The words of all captions as one array of numbers, and the caption that each word belongs to."""
        texts, new = [caption.split() for caption in captions], {}
        known = self.words
        words = [
            known[word] if word in known else len(known) + new.setdefault(word, len(new))
            for text in texts
            for word in text
        ]
        caption = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
        return np.array(words, dtype=np.int64), caption

    def _found(self, order: int, keys: np.ndarray) -> np.ndarray:
        """Stores these keys as the corpus's n-grams of one order, and returns their numbers."""
        self.known.append(np.append(np.unique(keys), NEVER))
        return self._place(order, keys)

    def _place(self, order: int, keys: np.ndarray) -> np.ndarray:
        """Numbers n-grams: a key's index among the corpus's n-grams; unknown keys come after all of these."""
        known = self.known[order - 2]
        places = np.searchsorted(known, keys)
        other = known[places] != keys
        places[other] = len(known) + np.unique(keys[other], return_inverse=True)[1]
        return places

    def _post(self, gram: np.ndarray, caption: np.ndarray, count: np.ndarray) -> _Postings:
        image = self.image[caption]
        first = np.append(True, (gram[1:] != gram[:-1]) | (image[1:] != image[:-1]))[: len(gram)]
        rarity = self.rarest - np.log(np.bincount(gram[first]))
        weight = count * rarity[gram]
        norm = np.sqrt(np.bincount(caption, weight**2, len(self.image)))[caption]
        share = weight / np.where(norm > 0, norm, 1)
        begins = np.append(0, np.cumsum(np.bincount(gram)))
        return _Postings(
            rarity, begins, caption.astype(np.int32), count.astype(np.uint16), share.astype(np.float32)
        )


class _Postings:
    """For each n-gram of one order: the captions that contain it, its counts and weights in their vectors."""

    def __init__(
        self,
        rarity: np.ndarray,
        begins: np.ndarray,
        caption: np.ndarray,
        count: np.ndarray,
        share: np.ndarray,
    ) -> None:
        self.rarity = rarity  # (G,) the logarithm of images to images that have it
        self.begins = begins  # (G + 1,) where the captions of each n-gram begin
        self.caption, self.count, self.share = caption, count, share  # (P,) each

    def meet(self, gram: int, count: int, share: np.ndarray, length: np.ndarray, lengths: int) -> np.ndarray:
        """What an n-gram that a candidate has `count` times adds to the score, by caption length: (L,)."""
        having = slice(self.begins[gram], self.begins[gram + 1])
        caption = self.caption[having]
        added = share[caption] * np.minimum(self.count[having], count) * self.share[having]
        return np.bincount(length[caption], added, lengths)


def _counted(
    words: np.ndarray, caption: np.ndarray, captions: int, place: Callable[[int, np.ndarray], np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields for each order (n-gram, caption, count), sorted by n-gram, then by caption.

    Args:
        words: the words of all captions, one after another, as numbers.
        caption: the caption of each word.
        captions: how many there are.
        place: maps n-grams of an order (2 or more) to their numbers. A key combines the number of the
            n-gram's first words and its last word.
    """
    start, gram = np.arange(len(words)), words
    for order in range(1, ORDERS + 1):
        if order > 1:
            last = start + order - 1
            whole = last < len(words)
            whole[whole] = caption[start[whole]] == caption[last[whole]]
            start, gram = start[whole], place(order, gram[whole] * BASE + words[last[whole]])
        pairs, count = np.unique(gram * captions + caption[start], return_counts=True)
        yield pairs // captions, pairs % captions, count


def _bigrams(caption: np.ndarray, captions: int) -> np.ndarray:
    """The lengths of captions in bigrams, as CIDEr-D counts them."""
    return np.maximum(np.bincount(caption, minlength=captions) - 1, 0)
