"""Resampled scores equal the scorer's, intervals have the right width, noise rarely looks like progress."""

import dataclasses
import random

import numpy as np
import pytest

from captioning.evaluation import bootstrap as statistics
from captioning.evaluation.bootstrap import bootstrap, compare, corpus_scores, image_statistics, interval
from captioning.metrics.coco import METRICS, Scores, score, score_many

WORDS = "a the man dog child red blue ball runs sits on in grass water with of two and big small".split()


def captions(images: int, draw: random.Random) -> tuple[dict[str, list[str]], dict[str, str], dict[str, str]]:
    """References, candidates close to them, and candidates less close."""
    references, good, poor = {}, {}, {}
    for i in map(str, range(images)):
        core = draw.choices(WORDS, k=draw.randint(3, 9))
        alter = lambda share: " ".join(w if draw.random() > share else draw.choice(WORDS) for w in core)  # noqa: B023, E731
        references[i] = [alter(0.4) for _ in range(5)]
        good[i], poor[i] = alter(0.4), alter(0.7)
    return references, good, poor


@pytest.fixture(scope="module")
def data():
    return captions(120, random.Random(0))


@pytest.fixture(scope="module")
def good_and_poor(data, meteor):
    references, good, poor = data
    scores = score_many({"good": (references, good), "poor": (references, poor)}, meteor)
    return scores["good"], scores["poor"]


def some(scores: Scores, rows: np.ndarray) -> Scores:
    """These images of a scored set; an image appears as often as it is named."""
    return dataclasses.replace(
        scores,
        ids=[str(i) for i in range(len(rows))],
        per_image={name: values[rows] for name, values in scores.per_image.items()},
        bleu_statistics=scores.bleu_statistics[rows],
        meteor_statistics=scores.meteor_statistics[rows],
    )


def test_sums_over_all_images_give_the_corpus_scores(good_and_poor):
    for scores in good_and_poor:
        again = corpus_scores(image_statistics(scores).sum(axis=0))
        assert {name: float(value) for name, value in again.items()} == pytest.approx(
            scores.corpus, rel=1e-12
        )


def test_a_resample_scores_as_the_scorer_scores_its_captions(data, good_and_poor, meteor):
    references, good, _ = data
    drawn = np.random.default_rng(5).integers(0, 120, size=120)
    chosen = {f"{n}": str(i) for n, i in enumerate(drawn)}
    scorer = score(
        {n: references[i] for n, i in chosen.items()}, {n: good[i] for n, i in chosen.items()}, meteor
    )
    ours = corpus_scores(image_statistics(some(good_and_poor[0], drawn)).sum(axis=0))
    for name in METRICS[:-1]:
        assert float(ours[name]) == pytest.approx(scorer.corpus[name], rel=1e-12), name
    # Document frequencies stay those of the whole set.
    mean = good_and_poor[0].per_image["cider"][drawn].mean()
    assert float(ours["cider"]) == pytest.approx(mean, rel=1e-12)


def test_captions_without_a_word_score_nothing():
    empty = np.zeros((3, 36))
    empty[:, 35] = 1
    empty[:, 9] = 7  # the references' words
    scores = corpus_scores(empty.sum(axis=0))
    assert all(0 <= float(value) < 1e-9 for value in scores.values()), scores


def test_an_interval_is_as_wide_as_the_standard_error_says(good_and_poor):
    scores = good_and_poor[0]
    resampled = bootstrap(scores, 4000, seed=1)
    for name in ("rouge_l", "cider"):
        low, high = interval(resampled[name])
        error = scores.per_image[name].std() / np.sqrt(len(scores.ids))
        assert high - low == pytest.approx(2 * 1.96 * error, rel=0.08)
        assert low < scores.corpus[name] < high
    for name in METRICS:
        assert abs(resampled[name].mean() - scores.corpus[name]) < resampled[name].std()


def test_equal_seeds_give_equal_digits_whatever_the_memory(good_and_poor, monkeypatch):
    first = bootstrap(good_and_poor[0], 100, seed=3)
    monkeypatch.setattr(statistics, "CHUNK", 120 * 7)
    again, other = bootstrap(good_and_poor[0], 100, seed=3), bootstrap(good_and_poor[0], 100, seed=4)
    for name in METRICS:
        np.testing.assert_allclose(first[name], again[name], rtol=1e-12)
        assert not np.allclose(first[name], other[name])


def test_parts_are_resampled_alike_and_averaged(good_and_poor):
    good, poor = (bootstrap(scores, 50, seed=2) for scores in good_and_poor)
    both = bootstrap(good_and_poor, 50, seed=2)
    for name in METRICS:
        np.testing.assert_allclose(both[name], (good[name] + poor[name]) / 2, rtol=1e-12)


def test_a_captioner_is_no_better_than_itself(good_and_poor):
    for found in compare(good_and_poor[0], good_and_poor[0], 200, seed=0).values():
        assert (found.difference, found.low, found.high, found.p, found.effect, found.wins) == (
            0, 0, 0, 1, 0, 0.5,
        )  # fmt: skip


def test_a_better_captioner_is_found_and_the_sign_turns_with_the_order(good_and_poor):
    good, poor = good_and_poor
    forth, back = compare(good, poor, 1000, seed=0), compare(poor, good, 1000, seed=0)
    for name in METRICS:
        assert forth[name].p < 0.01
        assert 0 < forth[name].low < forth[name].difference < forth[name].high
        assert forth[name].effect > 0.2
        assert forth[name].wins > 0.55
        assert back[name].difference == -forth[name].difference
        assert back[name].wins == pytest.approx(1 - forth[name].wins)


def test_noise_is_rarely_taken_for_progress(good_and_poor):
    """Two captioners that differ by chance only: captions of `good` and `poor`, shuffled between them per
    image."""
    good, poor = good_and_poor
    generator, found = np.random.default_rng(9), {name: 0 for name in ("bleu_4", "meteor", "cider")}
    both = {name: np.stack([good.per_image[name], poor.per_image[name]]) for name in METRICS}
    bleu = np.stack([good.bleu_statistics, poor.bleu_statistics])
    meteor = np.stack([good.meteor_statistics, poor.meteor_statistics])
    rows, trials = np.arange(120), 100
    for trial in range(trials):
        side = generator.integers(0, 2, 120)
        pair = [
            dataclasses.replace(
                good,
                per_image={name: both[name][one, rows] for name in METRICS},
                bleu_statistics=bleu[one, rows],
                meteor_statistics=meteor[one, rows],
            )
            for one in (side, 1 - side)
        ]
        for name, result in compare(*pair, 200, seed=trial).items():
            if name in found:
                found[name] += result.p <= 0.05
    for name, count in found.items():  # 5 of 100 expected; 13 or more happens once in 1,000 times
        assert count < 13, f"{name}: {count} of {trials}"


def test_sets_over_different_images_cannot_be_compared(good_and_poor):
    good, poor = good_and_poor
    with pytest.raises(ValueError, match="same images"):
        compare(good, some(poor, np.arange(60)), 100, seed=0)
