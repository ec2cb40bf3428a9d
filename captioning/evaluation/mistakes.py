"""Mistakes that single words show: colours, numbers, and people's gender, judged by the references.

Words of a class are read from the caption and from the image's references. No reference says everything, so a
word that no reference has is not always wrong: compare a captioner's figures with people's own.

precision: share of the caption's labels that some reference has.
contradicted: share of the caption's labels that no reference has, although two references agree on another
    label of the class: "a woman" where two people say a man.
recall: share of the labels that two references agree on and that the caption also has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from captioning.evaluation.bootstrap import ratio

AGREED = 2  # references
NUMBERS = "two three four five six seven eight nine ten".split()
COLOURS = "black white grey red orange yellow green blue purple pink brown tan gold silver".split()
MALE = """man men boy boys guy guys gentleman gentlemen male males
          father dad son sons brother brothers he him his himself""".split()
FEMALE = """woman women girl girls lady ladies female females
            mother mom daughter daughters sister sisters she her herself""".split()
CLASSES = {  # class: {word: label}; without "one", which seldom counts anything ("one of them")
    "colour": {word: word for word in COLOURS} | {"gray": "grey", "golden": "gold"},
    "number": {**dict(zip(NUMBERS, NUMBERS, strict=True)), "couple": "two"}
    | {str(n): word for n, word in enumerate(NUMBERS, 2)},
    "gender": dict.fromkeys(MALE, "male") | dict.fromkeys(FEMALE, "female"),
}
Folds = Sequence[tuple[Mapping[str, Sequence[str]], Mapping[str, str]]]


def labels(text: str, words: Mapping[str, str]) -> set[str]:
    """The labels of a class that a caption (PTB tokens) has: {word: label} -> labels."""
    return {words[word] for word in text.split() if word in words}


def counts(
    references: Mapping[str, Sequence[str]], captions: Mapping[str, str], words: Mapping[str, str]
) -> np.ndarray:
    """Counts of labels for each image, (N, 5).

    Said; said and in a reference; contradicted; agreed on by two references; said among the agreed ones.
    """
    table = np.zeros((len(captions), 5))
    for row, (image, caption) in enumerate(captions.items()):
        said = labels(caption, words)
        people, agreed = _of_people(references[image], words)
        strange = said - people
        contradicted = strange if agreed else ()
        table[row] = [len(x) for x in (said, said & people, contradicted, agreed, agreed & said)]
    return table


def mistakes(folds: Folds, count: int, seed: int) -> dict[str, dict]:
    """{class: {"said": labels per fold, "precision": {value, low, high}, "contradicted": ..., "recall": ...}}

    folds: pairs (references, candidates) over the same images, tokenized. A class that no caption mentions
    has no figures.
    """
    result = {}
    for name, words in CLASSES.items():
        # (N, 5)
        table = np.mean([counts(references, captions, words) for references, captions in folds], axis=0)
        said, supported, contradicted, agreed, named = table.T
        pairs = {"precision": (supported, said), "contradicted": (contradicted, said)}
        pairs["recall"] = named, agreed
        found = {key: ratio(top, under, count, seed) for key, (top, under) in pairs.items() if under.any()}
        result[name] = {"said": float(said.sum())} | found
    return result


def wrong(references: Sequence[str], caption: str) -> list[str]:
    """The labels of all classes that one caption has and the references contradict."""
    found = []
    for words in CLASSES.values():
        people, agreed = _of_people(references, words)
        found += sorted(labels(caption, words) - people) if agreed else []
    return found


def _of_people(references: Sequence[str], words: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """The labels that any reference has, and those that two references agree on."""
    times = Counter(label for text in references for label in labels(text, words))
    return set(times), {label for label in times if times[label] >= AGREED}
