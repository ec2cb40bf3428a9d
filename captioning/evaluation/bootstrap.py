"""How certain a score is: bootstrap intervals over images, and a paired test of two captioners on these.

BLEU and METEOR of a corpus are not means over images but formulas of summed counts. So the images' counts are
resampled, and each resample's score is computed from its sums (Koehn 2004). ROUGE-L is a mean over images. So
is CIDEr for given document frequencies; here the whole test set gives these for all resamples. If each
resample gave its own, the noise of the frequencies would add to the captioner's, and n-grams of images that a
resample holds twice would count as common.

Intervals of one run cover the choice of test images. Only `compare_settings`, which takes runs of several
seeds, covers the training seed, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from captioning.metrics.coco import METRICS, Scores
from captioning.metrics.meteor import from_sums, summands

SHARE = 0.95  # of resamples in an interval
CHUNK = 20_000_000  # weights drawn at once: 160 MB, whatever the number of images


@dataclass(frozen=True)
class Comparison:
    """One metric of captioners a and b on the same images."""

    difference: float  # a's corpus score - b's
    low: float  # 95% interval of the difference, paired bootstrap
    high: float
    p: float  # two-sided paired permutation test: how often random swaps differ at least as much
    effect: float  # Cohen's d_z: mean of the images' differences / their standard deviation
    wins: float  # share of images on which a scores higher; a tie counts half


def corpus_scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Corpus scores from summed `image_statistics`. sums: (..., 36) -> METRICS: (...,) each"""
    bleu, meteor = np.moveaxis(bleu_from_sums(sums[..., :10]), -1, 0), from_sums(sums[..., 10:33])
    rouge_l, cider, images = np.moveaxis(sums[..., 33:], -1, 0)
    return dict(zip(METRICS, [*bleu, meteor, rouge_l / images, cider / images], strict=True))


def image_statistics(scores: Scores) -> np.ndarray:
    """The statistics whose sums over images give a set's scores: (N, 36)

    10 of BLEU, 23 of METEOR, then ROUGE-L, CIDEr and a 1 that counts the images.
    """
    ones = np.ones(len(scores.ids))
    means = np.stack([scores.per_image["rouge_l"], scores.per_image["cider"], ones], axis=1)
    return np.concatenate([scores.bleu_statistics, summands(scores.meteor_statistics), means], axis=1)


def bleu_from_sums(sums: np.ndarray) -> np.ndarray:
    """BLEU-1..4 as pycocoevalcap's BleuScorer computes it, with its smoothing. (..., 10) -> (..., 4)"""
    small, tiny = 1e-9, 1e-15
    matched, guessed, length, reference = sums[..., :4], sums[..., 4:8], sums[..., 8:9], sums[..., 9:10]
    precision = np.cumprod((matched + tiny) / (guessed + small), axis=-1)  # (..., 4)
    ratio = (length + tiny) / (reference + small)
    with np.errstate(over="ignore"):  # no words at all: 1 / ratio is huge, and exp(-huge) is 0
        brevity = np.exp(np.minimum(0.0, 1 - 1 / ratio))
    return precision ** (1 / np.arange(1, 5)) * brevity


def bootstrap(parts: Scores | Sequence[Scores], count: int, seed: int) -> dict[str, np.ndarray]:
    """Corpus scores of `count` resamples of the images, with replacement: METRICS: (count,) each.

    Several `parts` over the same images (each reference against the others) share their resamples and are
    averaged. Equal seeds and numbers of images draw equal images, so that differences between captioners are
    paired.
    """
    statistics = [image_statistics(part) for part in ([parts] if isinstance(parts, Scores) else parts)]
    images, result = len(statistics[0]), {name: [] for name in METRICS}
    generator = np.random.default_rng(seed)
    for rows in _chunks(count, images):
        # (R, N)
        weights = generator.multinomial(images, np.full(images, 1 / images), size=rows).astype(np.float64)
        resampled = [corpus_scores(weights @ table) for table in statistics]
        for name in METRICS:
            result[name].append(np.mean([scores[name] for scores in resampled], axis=0))
    return {name: np.concatenate(values) for name, values in result.items()}


def interval(values: np.ndarray) -> tuple[float, float]:
    """The middle 95% of resampled values."""
    low, high = np.quantile(values, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)


def ratio(top: np.ndarray, under: np.ndarray, count: int, seed: int) -> dict[str, float]:
    """{value, low, high} of sum(top) / sum(under) over images, (N,) each: a mean where `under` is all ones.

    The sum of `under` must not be 0. Resamples in which it is 0 are left out of the interval.
    """
    generator, values = np.random.default_rng(seed), []
    for rows in _chunks(count, len(top)):
        weights = generator.multinomial(len(top), np.full(len(top), 1 / len(top)), size=rows)  # (R, N)
        divisors = weights @ under
        values.append((weights @ top)[divisors > 0] / divisors[divisors > 0])
    low, high = interval(np.concatenate(values))
    return {"value": float(top.sum() / under.sum()), "low": low, "high": high}


def compare(a: Scores, b: Scores, count: int, seed: int) -> dict[str, Comparison]:
    """Compares two captioners on the same images: difference, interval, permutation test and effect size.

    The test swaps the two captions of each image at random, `count` times. p is the share of swaps, the
    observed order included, that differ at least as much as the captioners do. Seven metrics are seven tests:
    p = .04 in a single one of them proves nothing.
    """
    if a.ids != b.ids:
        raise ValueError("compare() needs two sets of captions of the same images, in the same order")
    tables = image_statistics(a), image_statistics(b)
    whole = [corpus_scores(table.sum(axis=0)) for table in tables]
    observed = {name: whole[0][name] - whole[1][name] for name in METRICS}
    resampled = bootstrap(a, count, seed), bootstrap(b, count, seed)
    reached = _permutations(*tables, observed, count, seed + 1)
    result = {}
    for name in METRICS:
        low, high = interval(resampled[0][name] - resampled[1][name])
        differences = a.per_image[name] - b.per_image[name]
        spread = differences.std(ddof=1) if len(differences) > 1 else 0.0
        result[name] = Comparison(
            difference=float(observed[name]),
            low=low,
            high=high,
            p=(1 + reached[name]) / (1 + count),
            effect=float(differences.mean() / spread) if spread > 0 else 0.0,
            wins=float(np.mean(differences > 0) + np.mean(differences == 0) / 2),
        )
    return result


@dataclass(frozen=True)
class Settings:
    """One metric of settings a and b, each trained with several seeds and scored on the same images."""

    a: float  # mean over a's runs
    b: float
    difference: float  # a - b
    low: float  # 95% interval of the difference over images and seeds
    high: float


def compare_settings(a: Sequence[Scores], b: Sequence[Scores], count: int, seed: int) -> dict[str, Settings]:
    """The difference of two settings' mean scores, with an interval over images and training seeds together.

    Each resample draws images, the same for all runs, and adds a deviation for the seeds: Student's t times
    the standard error of the means (Welch). Resampling two or three runs instead would make the interval much
    too narrow. Each side needs at least two runs.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError("compare_settings() needs two runs or more of each setting")
    if any(run.ids != a[0].ids for run in (*a, *b)):
        raise ValueError("compare_settings() needs captions of the same images, in the same order")
    sides = [corpus_scores(np.stack([image_statistics(run).sum(axis=0) for run in side])) for side in (a, b)]
    resampled = bootstrap(a, count, seed), bootstrap(b, count, seed)  # resamples of the means over runs
    luck, result = np.random.default_rng(seed + 1), {}
    for name in METRICS:
        squares = [float(side[name].var(ddof=1)) / len(side[name]) for side in sides]
        deviation = np.zeros(count)
        if sum(squares) > 0:
            parts = [square**2 / (len(side[name]) - 1) for square, side in zip(squares, sides, strict=True)]
            deviation = luck.standard_t(sum(squares) ** 2 / sum(parts), count) * np.sqrt(sum(squares))
        low, high = interval(resampled[0][name] - resampled[1][name] + deviation)
        means = [float(side[name].mean()) for side in sides]
        result[name] = Settings(*means, means[0] - means[1], low, high)
    return result


def _permutations(a: np.ndarray, b: np.ndarray, observed: dict, count: int, seed: int) -> dict[str, int]:
    """How many of `count` random swaps differ at least as much as observed, for each metric. a, b: (N, 36)"""
    generator, reached = np.random.default_rng(seed), dict.fromkeys(METRICS, 0)
    total = a.sum(axis=0) + b.sum(axis=0)
    for rows in _chunks(count, len(a)):
        # (R, N): 1 keeps an image's two sides
        keep = generator.integers(0, 2, size=(rows, len(a))).astype(np.float64)
        first = keep @ (a - b) + b.sum(axis=0)  # (R, 36)
        left, right = corpus_scores(first), corpus_scores(total - first)
        for name in METRICS:
            reached[name] += int(np.sum(np.abs(left[name] - right[name]) >= abs(observed[name]) - 1e-12))
    return reached


def _chunks(count: int, images: int) -> Iterator[int]:
    """Chunk sizes that sum to `count` rows, each with at most CHUNK weights."""
    most = max(1, CHUNK // images)
    for start in range(0, count, most):
        yield min(most, count - start)
