"""BLEU-1..4, METEOR, ROUGE-L and CIDEr, equal to coco-caption's to the last digit.

The numbers are pycocoevalcap's: its PTB tokenizer, its METEOR and its scorers. Three faults around them are
avoided: its tokenizer splits a caption that holds a line separator and shifts all later captions; its METEOR
hangs when Java dies; its `COCOEvalCap` downloads SPICE before it starts. METEOR runs while Python computes
the other scores. `python -m commands.score` scores files of anybody's captions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from captioning.core.errors import UserError
from captioning.core.files import atomic_write, csv_line
from captioning.metrics.meteor import Meteor

TITLES = {
    "bleu_1": "BLEU-1", "bleu_2": "BLEU-2", "bleu_3": "BLEU-3", "bleu_4": "BLEU-4", "meteor": "METEOR",
    "rouge_l": "ROUGE-L", "cider": "CIDEr",
}  # fmt: skip
METRICS = tuple(TITLES)
Jobs = Mapping[str, tuple[Mapping[str, Sequence[str]], Mapping[str, str]]]


@dataclass(frozen=True)
class Scores:
    """The scores of one set of captions. Everything per image is in the order of `ids`."""

    ids: list[str]
    corpus: dict[str, float]  # the seven METRICS on coco-caption's scales
    per_image: dict[str, np.ndarray]  # the same for each image alone: (N,) each
    bleu_statistics: np.ndarray  # (N, 10): matched n-grams for n = 1..4, candidate's, its length, reference's
    meteor_statistics: np.ndarray  # (N, 23): see captioning.metrics.meteor


def score(
    references: Mapping[str, Sequence[str]], candidates: Mapping[str, str], meteor: Meteor | None = None
) -> Scores:
    """Scores tokenized candidates {id: tokens} against tokenized references {id: [tokens, ...]}.

    Every image needs one candidate and at least one reference; otherwise UserError. An empty candidate scores
    0. CIDEr takes its document frequencies from these references, so it depends on all of them and is 0 for a
    single image (see `doubts`).
    """
    return score_many({"candidates": (references, candidates)}, meteor)["candidates"]


def score_many(jobs: Jobs, meteor: Meteor | None = None) -> dict[str, Scores]:
    """Scores several sets of candidates, `{name: (references, candidates)}`, with one METEOR process.

    METEOR runs while Python computes the other scores. A given `meteor` stays open.
    """
    for name, (references, candidates) in jobs.items():
        _check(name, references, candidates)
    own = meteor is None
    meteor = meteor or Meteor()
    try:
        with ThreadPoolExecutor(1) as thread:
            waiting = {name: thread.submit(_meteor, meteor, *job) for name, job in jobs.items()}
            try:
                return {name: _score(*job, waiting[name]) for name, job in jobs.items()}
            except BaseException:
                thread.shutdown(wait=False, cancel_futures=True)
                meteor.close()  # ends Java at once when a scorer fails
                raise
    finally:
        if own:
            meteor.close()


def _meteor(meteor: Meteor, references: Mapping[str, Sequence[str]], candidates: Mapping[str, str]):
    return meteor.score(list(references.values()), [candidates[i] for i in references])


def _score(references: Mapping[str, Sequence[str]], candidates: Mapping[str, str], meteor: Future) -> Scores:
    listed = {i: list(references[i]) for i in references}  # pycocoevalcap insists on lists
    single = {i: [candidates[i]] for i in references}

    bleu = BleuScorer(n=4)
    for i in listed:
        bleu += (single[i][0], listed[i])
    bleu_corpus, bleu_images = bleu.compute_score(option="closest", verbose=0)
    bleu_statistics = [
        (*c["correct"], *c["guess"], c["testlen"], bleu._single_reflen(c["reflen"], "closest", c["testlen"]))
        for c in bleu.ctest
    ]
    rouge_corpus, rouge_images = Rouge().compute_score(listed, single)
    cider_corpus, cider_images = Cider().compute_score(listed, single)
    meteor_corpus, meteor_images, meteor_statistics = meteor.result()

    corpus = [*bleu_corpus, meteor_corpus, rouge_corpus, cider_corpus]
    images = [*bleu_images, meteor_images, rouge_images, cider_images]
    return Scores(
        ids=list(listed),
        corpus={name: float(value) for name, value in zip(METRICS, corpus, strict=True)},
        per_image=dict(zip(METRICS, (np.asarray(values, np.float64) for values in images), strict=True)),
        bleu_statistics=np.array(bleu_statistics, dtype=np.int64),
        meteor_statistics=meteor_statistics,
    )


def _check(name: str, references: Mapping[str, Sequence[str]], candidates: Mapping[str, str]) -> None:
    """Raises UserError for input with which the scorers fail or return a wrong number."""
    if not references:
        raise UserError(f"{name}: no references, so there is nothing to score")
    lacking, strange = references.keys() - candidates, candidates.keys() - references
    for kind, ids in (("no candidate", lacking), ("no references", strange)):
        if ids:
            shown = ", ".join(sorted(map(str, ids))[:3])
            raise UserError(
                f"{name}: {len(ids)} image(s) have {kind}, such as {shown}; each needs exactly one caption"
            )
    for i, texts in references.items():
        if isinstance(texts, str) or not texts or not all(isinstance(text, str) for text in texts):
            raise UserError(
                f"{name}: the references of image {i} must be a list of one or more texts, not {texts!r}"
            )
        if not isinstance(candidates[i], str):
            raise UserError(f"{name}: the candidate of image {i} must be one text, not {candidates[i]!r}")
    if not any(text.split() for texts in references.values() for text in texts):
        raise UserError(f"{name}: none of the references has a word")


def write_per_image(path: Path, scores: Scores, captions: Mapping[str, str]) -> None:
    """One row per image: its id, its candidate as given, and its seven scores."""
    with atomic_write(path) as file:
        file.write(csv_line(["image_id", "caption", *METRICS]))
        for row, i in enumerate(scores.ids):
            file.write(csv_line([i, captions[i], *(float(scores.per_image[name][row]) for name in METRICS)]))


def doubts(scores: Scores) -> list[str]:
    """One sentence for each score that means nothing on this data; usually empty."""
    if not scores.bleu_statistics[:, 0].any():
        return [
            "no caption shares a word with its references, so all scores are 0 or close to it; text "
            "without blanks between its words, such as Chinese, must be segmented first"
        ]
    if len(scores.ids) == 1:
        return [
            "CIDEr of a single image is always 0, since it weighs a word by how few of the images have it; "
            "intervals over images need several images, too"
        ]
    if not scores.corpus["cider"]:
        return [
            "CIDEr is 0, since every word that a caption shares with its references is in every image's "
            "references"
        ]
    return []
