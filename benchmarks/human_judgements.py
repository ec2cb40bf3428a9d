"""Kendall's tau between the scores of single captions and people's judgements, on Flickr8k's two sets:

    python -m benchmarks.human_judgements FOLDER     # Flickr8k_text, with its two files of judgements

Both judge captions of one photograph beside another photograph (Hodosh et al. 2013,
https://doi.org/10.1613/jair.3994). The protocol is that of CLIPScore's authors (Hessel et al. 2021,
https://arxiv.org/abs/2104.08718, appendix A), so the numbers can be compared with their Table 1:

- ExpertAnnotations.txt: three people gave 1 to 4 each; every rating is a row. Captions that are among the
  photograph's own references are left out. Tau-c.
- CrowdFlowerAnnotations.txt: the share of at least three people who said that the caption describes the
  photograph. References equal to a judged caption are removed from that photograph's references. Tau-b.

Flickr8k's official archive of texts holds both files; Kaggle's layout does not. Takes five minutes on one
core.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from captioning.core.errors import UserError, command
from captioning.data.ptb import ptb_tokenize
from captioning.metrics.coco import METRICS, TITLES, score

EXPERT, CROWD = "ExpertAnnotations.txt", "CrowdFlowerAnnotations.txt"
# Tau times 100 as published; the paper has no BLEU-2, BLEU-3 for either set, and no BLEU-1 for the second.
PUBLISHED = {
    EXPERT: {"bleu_1": 32.3, "bleu_4": 30.8, "meteor": 41.8, "rouge_l": 32.3, "cider": 43.9},
    CROWD: {"bleu_4": 16.9, "meteor": 22.2, "rouge_l": 19.9, "cider": 24.6},
}


class Judgements(NamedTuple):
    """N captions, the references that each is scored against, and people's ratings of them."""

    references: list[list[str]]
    captions: list[str]
    ratings: np.ndarray


def read(folder: Path, name: str) -> Judgements:
    """The judgements of one of the two files. Raises UserError if it is missing or has another form."""
    said: dict[str, str] = {}  # {"PHOTOGRAPH#N": caption}
    own: dict[str, list[str]] = {}
    for key, caption in _rows(folder / "Flickr8k.token.txt", 2):
        said[key] = caption
        own.setdefault(key.split("#")[0], []).append(caption)
    references, captions, ratings = [], [], []
    rows = _rows(folder / name, 5)
    try:
        if name == EXPERT:
            for photograph, key, *experts in rows:
                if said[key] not in own[photograph]:
                    references += [own[photograph]] * 3
                    captions += [said[key]] * 3
                    ratings += map(float, experts)
        else:
            for photograph, key, *_ in rows:  # once for a photograph, before any of its captions is scored
                if said[key] in own[photograph]:
                    own[photograph].remove(said[key])
            for photograph, key, share, *_ in rows:
                references.append(own[photograph])
                captions.append(said[key])
                ratings.append(float(share))
    except (KeyError, ValueError) as error:
        raise UserError(f"{folder / name} does not fit Flickr8k.token.txt beside it: {error!r}") from None
    return Judgements(references, captions, np.array(ratings))


def correlations(judgements: Judgements, variant: str) -> dict[str, float]:
    """{metric: Kendall's tau of the captions' scores with the ratings}."""
    distinct = list(
        dict.fromkeys([text for texts in judgements.references for text in texts] + judgements.captions)
    )
    tokens = dict(zip(distinct, ptb_tokenize(distinct), strict=True))
    scores = score(
        {str(n): [tokens[text] for text in texts] for n, texts in enumerate(judgements.references)},
        {str(n): tokens[text] for n, text in enumerate(judgements.captions)},
    )
    return {name: kendall(scores.per_image[name], judgements.ratings, variant) for name in METRICS}


def kendall(scores: np.ndarray, ratings: np.ndarray, variant: str) -> float:
    """Kendall's tau-b or tau-c of two rankings, (N,) each, with ties; fast for few different ratings.

    tau-b divides by the pairs without a tie in each (Kendall 1945), tau-c by the maximum for a table of that
    many rows (Stuart 1953).
    """
    levels = np.unique(ratings)
    groups = [np.sort(scores[ratings == level]) for level in levels]
    balance = 0  # pairs in the same order - pairs in the opposite order
    for n, low in enumerate(groups):
        for high in groups[n + 1 :]:
            below, above = np.searchsorted(low, high, "left"), len(low) - np.searchsorted(low, high, "right")
            balance += int(below.sum()) - int(above.sum())
    count = len(scores)
    if variant == "c":
        smaller = min(len(levels), len(np.unique(scores)))
        return 2 * balance / (count**2 * (smaller - 1) / smaller)
    pairs = count * (count - 1) / 2
    untied = [
        pairs - sum(c * (c - 1) / 2 for c in Counter(values.tolist()).values())
        for values in (scores, ratings)
    ]
    return balance / float(np.sqrt(untied[0] * untied[1]))


def table(title: str, count: int, found: dict[str, float], published: dict[str, float]) -> list[str]:
    """Lines: a metric's tau times 100 beside the published one, where there is one."""
    lines = [f"{title}, {count} judgements", f"{'':<8} {'ours':>6} {'published':>10}"]
    for name in METRICS:
        theirs = f"{published[name]:10.1f}" if name in published else f"{'':>10}"
        lines.append(f"{TITLES[name]:<8} {100 * found[name]:6.1f} {theirs}")
    return lines


def _rows(path: Path, columns: int) -> list[list[str]]:
    try:
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}; Flickr8k's official archive Flickr8k_text.zip holds it, "
            "Kaggle's does not"
        ) from None
    for number, row in enumerate(rows, start=1):
        if len(row) != columns:
            raise UserError(
                f"{path}, line {number}: expected {columns} columns separated by tabs, found {len(row)}"
            )
    return rows


@command
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.human_judgements",
        description="Kendall's tau of every score with people's judgements of Flickr8k captions, "
        "beside the published.",
    )
    parser.add_argument(
        "folder", type=Path, help="Flickr8k_text, with the captions and the two files of judgements"
    )
    folder = parser.parse_args(arguments).folder
    for name, title, variant in ((EXPERT, "Flickr8k-Expert, tau-c", "c"), (CROWD, "Flickr8k-CF, tau-b", "b")):
        judgements = read(folder, name)
        found = correlations(judgements, variant)
        print("\n".join(table(title, len(judgements.captions), found, PUBLISHED[name])), flush=True)


if __name__ == "__main__":
    main()
