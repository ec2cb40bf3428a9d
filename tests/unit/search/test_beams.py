"""Beam search equals transformers' `generate`, and a textbook version without batches and caches."""

import math

import pytest
import torch
from random_decoders import (
    END,
    MODELS,
    assert_same,
    generated,
    log_probs_after,
    random_clipcap,
    random_features,
    random_lstm,
)

from captioning.core.errors import UserError
from captioning.search.base import Rules, greedy
from captioning.search.beam import beam_search
from captioning.search.diverse import diverse_beam_search


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0, 2.0, -1.0])
def test_beams_are_those_of_generate(seed, penalty):
    model, images = random_clipcap(seed, mapping=("mlp", "transformer")[seed % 2]), 1 + seed % 6
    features = random_features(seed, images)
    found = beam_search(
        model, features, Rules(beam_size=5, max_tokens=12, eos_id=END, length_penalty=penalty)
    )
    rows, scores = generated(model, features, 5, 12, length_penalty=penalty)
    assert_same(found, rows, scores)


@pytest.mark.parametrize("beams", [2, 3, 8])
@pytest.mark.parametrize("max_tokens", [1, 2, 9])
def test_other_widths_and_lengths_are_those_of_generate(beams, max_tokens):
    model, features = random_clipcap(beams), random_features(beams, 4)
    found = beam_search(model, features, Rules(beam_size=beams, max_tokens=max_tokens, eos_id=END))
    assert_same(found, *generated(model, features, beams, max_tokens))


def test_the_models_above_end_some_captions_and_cut_others():
    found = [
        caption
        for seed in range(12)
        for captions in beam_search(
            random_clipcap(seed), random_features(seed, 3), Rules(beam_size=5, max_tokens=12, eos_id=END)
        )
        for caption in captions
    ]
    assert 0.2 < sum(caption.ended for caption in found) / len(found) < 0.95
    assert len({len(caption.tokens) for caption in found}) > 6


def plain_beam_search(
    model, features, beams: int, max_tokens: int, penalty: float
) -> list[tuple[float, list[int]]]:
    """(score, tokens with the end) of the best beams, best first: one image, Python lists, no cache between
    steps."""
    live, ended = [(0.0, [])], []
    for length in range(1, max_tokens + 1):
        options = []
        for total, tokens in live:
            for token, log_prob in enumerate(log_probs_after(model, features, tokens)):
                options.append((total + log_prob, [*tokens, token]))
        options = sorted(options, key=lambda option: -option[0])[: 2 * beams]
        last = length == max_tokens
        for total, tokens in options[:beams]:
            if last or tokens[-1] == END:
                ended.append((total / length**penalty, tokens))
        ended = sorted(ended, key=lambda caption: -caption[0])[:beams]
        live = [option for option in options if not last and option[1][-1] != END][:beams]
        if not live or (len(ended) == beams and live[0][0] / length**penalty <= ended[-1][0]):
            break
    return ended


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("penalty", [0.0, 1.0, 1.5])
@torch.no_grad()
def test_beams_are_those_of_the_textbook(kind, seed, penalty):
    model, grid = MODELS[kind](seed)
    features = random_features(seed, 3, grid)
    found = beam_search(model, features, Rules(beam_size=3, max_tokens=7, eos_id=END, length_penalty=penalty))
    for image, captions in enumerate(found):
        plain = plain_beam_search(model, features[image : image + 1], 3, 7, penalty)
        assert [caption.tokens + [END] * caption.ended for caption in captions] == [
            tokens for _, tokens in plain
        ]
        assert [caption.score for caption in captions] == pytest.approx(
            [score for score, _ in plain], abs=1e-5
        )


def test_a_beam_of_one_is_greedy():
    for model in (random_clipcap(3), random_lstm(3)):
        features = random_features(3, 4)
        options = dict(max_tokens=10, eos_id=END, length_penalty=0.3)
        assert beam_search(model, features, Rules(beam_size=1, **options)) == greedy(
            model, features, Rules(**options)
        )


def test_a_vocabulary_smaller_than_the_beam():
    model = random_clipcap(0, vocabulary=4)
    for captions in beam_search(
        model, random_features(0, 2), Rules(beam_size=6, max_tokens=3, eos_id=END, banned_ids=(0, 2))
    ):
        said = [tuple(caption.tokens) for caption in captions]
        assert said[: said.index(())] + said[said.index(()) + 1 :]  # the empty caption, and others
        assert sorted(said) == [(), (3,), (3, 3), (3, 3, 3)]
        assert all(math.isfinite(caption.score) for caption in captions)


def test_sizes_below_one_are_errors():
    for sizes in ({"beam_size": 0, "max_tokens": 4}, {"beam_size": 3, "max_tokens": 0}):
        with pytest.raises(ValueError, match="1 or more"):
            beam_search(random_lstm(0), random_features(0, 1), Rules(eos_id=END, **sizes))


@pytest.mark.parametrize("kind", MODELS)
def test_weights_that_are_no_numbers_are_named(kind):
    model, grid = MODELS[kind](0)
    for weights in model.parameters():
        weights.data.fill_(math.nan)
    features = random_features(0, 2, grid)
    for beams in (1, 3):
        rules = Rules(beam_size=beams, max_tokens=5, eos_id=END)
        with pytest.raises(UserError, match="scores are not numbers, so its weights are broken"):
            beam_search(model, features, rules)
        with pytest.raises(UserError, match="scores are not numbers"):
            diverse_beam_search(model, features, rules, groups=2, strength=0.5)
