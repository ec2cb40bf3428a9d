"""Scores what stage evaluate compares, with intervals: captioners, baselines, and their difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np

from captioning.core.errors import UserError
from captioning.data.dataset import Data
from captioning.data.ptb import ptb_tokenize
from captioning.evaluation import baselines
from captioning.evaluation.bootstrap import bootstrap, compare, interval
from captioning.metrics.coco import METRICS, Scores, score_many
from captioning.metrics.meteor import Meteor

FEWER = " (one reference fewer)"


def jobs(
    data: Data,
    split: str,
    captions: Mapping[str, Mapping[str, str]],
    features: Mapping[str, Callable],
    seed: int,
) -> dict[str, list[tuple[dict, dict]]]:
    """The jobs to score: a list of (references, candidates) for each system, several if folds are averaged.

    captions: {captioner: {image id: caption}} for all images of the split; features: {encoder: ids ->
    features}.
    """
    references, train = data.tokens(split), data.tokens("train")
    images = list(references)
    texts = ptb_tokenize([said[i] for said in captions.values() for i in images])
    starts = range(0, len(texts), len(images))
    models = {
        name: dict(zip(images, texts[start : start + len(images)], strict=True))
        for name, start in zip(captions, starts, strict=True)
    }
    simple = {}
    for name, load in features.items():
        simple[f"nearest_{name}"] = baselines.nearest(train, images, load, seed)
    simple["most_common"] = baselines.most_common(train, images)
    simple["random"] = baselines.random(train, images, seed)
    folds = baselines.humans(references)
    result = {"humans": folds} if folds else {}
    result |= {name: [(references, said)] for name, said in (models | simple).items()}
    if folds:
        for name, said in models.items():
            result[name + FEWER] = [baselines.with_one_fewer(references, said)]
    return result


def run(work: Mapping[str, list[tuple[dict, dict]]], meteor: Meteor) -> dict[str, list[Scores]]:
    """Scores all jobs in one METEOR process: a list of folds per system."""
    flat = {f"{name}, fold {n}": job for name, folds in work.items() for n, job in enumerate(folds)}
    scores = score_many(flat, meteor)
    return {name: [scores[f"{name}, fold {n}"] for n in range(len(folds))] for name, folds in work.items()}


def summary(folds: list[Scores], count: int, seed: int) -> dict[str, dict[str, float]]:
    """{metric: {value, low, high}}: the corpus's score, averaged over folds, and its 95% interval."""
    resampled = bootstrap(folds, count, seed)
    result = {}
    for name in METRICS:
        low, high = interval(resampled[name])
        value = float(np.mean([fold.corpus[name] for fold in folds]))
        result[name] = {"value": value, "low": low, "high": high}
    return result


def difference(a: Scores, b: Scores, count: int, seed: int) -> dict[str, dict[str, float]]:
    """{metric: Comparison as a dict}"""
    return {name: asdict(one) for name, one in compare(a, b, count, seed).items()}


def margin(score: Mapping[str, float]) -> float:
    """Half the width of a 95% interval, to compare differences between runs with."""
    return (score["high"] - score["low"]) / 2


def check_images(path: str, captions: Mapping[str, str], images: list[str], split: str) -> None:
    """Raises UserError if the images of a captions file are not those of the split that is scored."""
    missing, strange = [i for i in images if i not in captions], captions.keys() - set(images)
    if missing or strange:
        example = missing[0] if missing else sorted(strange)[0]
        raise UserError(
            f"{path} does not fit the {split} split: {len(missing)} of its {len(images)} images have no "
            f"caption and {len(strange)} captions are of other images, such as {example!r}; "
            "run `dvc repro` to caption them again"
        )
