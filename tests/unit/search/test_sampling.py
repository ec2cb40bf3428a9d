"""Samples follow the model's probabilities, respect the token limit, and repeat with the same seed."""

from collections import Counter
from itertools import product

import pytest
import torch
from random_decoders import (
    END,
    FEATURES,
    VOCABULARY,
    log_probs_after,
    random_clipcap,
    random_features,
    random_lstm,
)

from captioning.search.base import Rules, greedy
from captioning.search.sampling import FixedSampler, sample
from models.lstm import LSTMConfig, LSTMDecoder

MODELS = {"clipcap": random_clipcap(1), "lstm": random_lstm(1), "lstm with a grid": random_lstm(2, grid=True)}
BOTH = pytest.mark.parametrize("kind", MODELS)


def few_words(seed: int) -> LSTMDecoder:
    """A vocabulary of four tokens of similar probability, one of them `END`."""
    torch.manual_seed(seed)
    model = LSTMDecoder(LSTMConfig(4, FEATURES, embed_dim=8, hidden_size=8, tie_weights=False))
    torch.nn.init.normal_(model.output.weight, std=0.3)
    return model.eval()


@torch.no_grad()
def distribution(
    model, features: torch.Tensor, longest: int, change=lambda logs: logs
) -> dict[tuple[int, ...], float]:
    """The probability of every caption of up to `longest` tokens, computed word by word."""
    found, beginnings = {}, {(): 1.0}
    for _ in range(longest):
        for start, share in list(beginnings.items()):
            del beginnings[start]
            logs = change(torch.tensor(log_probs_after(model, features, list(start)))).softmax(0)
            for token, chance in enumerate(logs.tolist()):
                (found if token == END else beginnings)[(*start, token)] = share * chance
    return found | beginnings


def drawn(
    model, features: torch.Tensor, count: int, seed: int = 0, banned_ids=(), **options
) -> list[tuple[int, ...]]:
    generator = torch.Generator().manual_seed(seed)
    rules = Rules(max_tokens=3, eos_id=END, banned_ids=banned_ids)
    (found,) = sample(model, features, rules, count, generator=generator, **options)
    return [(*one.tokens, END) if one.ended else tuple(one.tokens) for one in found]


def chance_of(counts: list[int], expected: list[float]) -> float:
    """The p-value of Pearson's chi-squared test: the chance of counts at least this far from the expected
    ones."""
    statistic = sum((count - mean) ** 2 / mean for count, mean in zip(counts, expected, strict=True))
    return float(torch.special.gammaincc(torch.tensor((len(counts) - 1) / 2), torch.tensor(statistic / 2)))


def only_half(logs: torch.Tensor) -> torch.Tensor:
    """The nucleus of 0.5, computed from its definition."""
    kept, mass = torch.full_like(logs, float("-inf")), 0.0
    for token in logs.argsort(descending=True).tolist():
        if mass >= 0.5:
            break
        kept[token], mass = logs[token], mass + float(logs[token].exp())
    return kept


CHANGES = {
    "as it is": ({}, lambda logs: logs),
    "temperature": ({"temperature": 0.5}, lambda logs: logs / 0.5),
    "nucleus": ({"top_p": 0.5}, only_half),
    "banned": ({"banned_ids": [2]}, lambda logs: logs.index_fill(0, torch.tensor([2]), float("-inf"))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_captions_come_as_often_as_the_model_says(change):
    model, features, count = few_words(3), random_features(3, 1), 20_000
    options, changed = CHANGES[change]
    expected = distribution(model, features, 3, changed)
    assert sum(expected.values()) == pytest.approx(1)
    found = Counter(drawn(model, features, count, **options))
    assert {caption for caption in found if expected[caption] == 0} == set()
    often = [caption for caption in expected if expected[caption] * count >= 5]
    assert len(often) > 3
    rest = [count - sum(found[c] for c in often), count * (1 - sum(expected[c] for c in often))]
    counts, means = [found[c] for c in often], [expected[c] * count for c in often]
    if rest[1] > 1:
        counts, means = [*counts, rest[0]], [*means, rest[1]]
    assert chance_of(counts, means) > 0.001


def test_two_samples_of_an_image_are_independent():
    model, features, turns = few_words(3), random_features(3, 1), 3000
    images = features.expand(turns, -1)
    found = sample(
        model, images, Rules(max_tokens=1, eos_id=END), 2, generator=torch.Generator().manual_seed(0)
    )
    pairs = Counter(tuple(tuple(one.tokens) for one in of_image) for of_image in found)
    alone = {caption[:-1] if caption[-1] == END else caption: share
             for caption, share in distribution(model, features, 1).items()}  # fmt: skip
    expected = {pair: alone[pair[0]] * alone[pair[1]] * turns for pair in product(alone, repeat=2)}
    assert chance_of([pairs[pair] for pair in expected], list(expected.values())) > 0.001


@BOTH
def test_log_probs_are_the_model_s(kind):
    model, features = MODELS[kind], random_features(1, 3, "grid" in kind)
    options = dict(top_p=0.9, temperature=1.3, generator=torch.Generator().manual_seed(0))
    found = sample(model, features, Rules(max_tokens=8, eos_id=END, banned_ids=[5]), 4, **options)
    assert len({len(one.tokens) for of_image in found for one in of_image}) > 2
    with torch.no_grad():
        for image, of_image in enumerate(found):
            assert len(of_image) == 4
            for one in of_image:
                assert len(one.tokens) == 8 if not one.ended else len(one.tokens) < 8
                said, start = [*one.tokens, END] if one.ended else one.tokens, []
                assert END not in one.tokens and 5 not in said and len(one.log_probs) == len(said)
                for token, found_log in zip(said, one.log_probs, strict=True):
                    logs = log_probs_after(model, features[image : image + 1], start)
                    assert found_log == pytest.approx(logs[token], abs=1e-4)
                    start.append(token)
                assert one.score == pytest.approx(sum(one.log_probs) / len(said))


@BOTH
def test_the_generator_decides(kind):
    model, features = MODELS[kind], random_features(1, 3, "grid" in kind)

    def captions(seed):
        return sample(
            model, features, Rules(max_tokens=9, eos_id=END), 5, generator=torch.Generator().manual_seed(seed)
        )

    assert captions(0) == captions(0) != captions(1)


def test_a_model_in_training_is_sampled_without_dropout_and_left_in_training():
    model, features = few_words(3), random_features(3, 2)
    expected = drawn(model, features[:1], 50)
    assert drawn(model.train(), features[:1], 50) == expected and model.training


def test_a_temperature_near_zero_is_greedy_search():
    model, features = MODELS["clipcap"], random_features(1, 4)
    cold = sample(model, features, Rules(max_tokens=9, eos_id=END), 2, temperature=1e-4)
    best = greedy(model, features, Rules(max_tokens=9, eos_id=END))
    assert [[one.tokens for one in of_image] for of_image in cold] == [[one[0].tokens] * 2 for one in best]


@pytest.mark.parametrize("options", [{"top_p": 0.0}, {"top_p": 1.5}, {"temperature": 0.0}, {"count": 0}])
def test_what_cannot_be_drawn_is_said(options):
    with pytest.raises(ValueError, match="sample needs"):
        sample(few_words(0), random_features(0, 1), Rules(max_tokens=3, eos_id=END), **{"count": 1} | options)


@BOTH
@pytest.mark.parametrize("max_tokens", [1, 8, 30])
def test_steps_of_fixed_shapes_draw_the_same_captions(kind, max_tokens):
    """Equal random numbers give equal captions; 30 tokens are all that the ClipCap's positions allow."""
    model, features = MODELS[kind], random_features(1, 4, "grid" in kind)
    rules = Rules(max_tokens=max_tokens, eos_id=END, banned_ids=[5])
    chances = torch.rand(4, 5, 30, generator=torch.Generator().manual_seed(0))
    expected = sample(model, features, rules, 5, chances=chances)
    found = FixedSampler(model, rules, 5, features.device)(features, chances)
    assert found.shape == (4, 5, max_tokens)
    for of_image, rows in zip(expected, found.tolist(), strict=True):
        for one, row in zip(of_image, rows, strict=True):
            assert row == one.tokens + [END] * (max_tokens - len(one.tokens))
    assert max_tokens == 1 or len({len(one.tokens) for of_image in expected for one in of_image}) > 2


@BOTH
def test_steps_of_fixed_shapes_compute_the_same_logits(kind):
    model, features = MODELS[kind], random_features(1, 3, "grid" in kind)
    tokens = torch.randint(VOCABULARY, (6, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        (_, growing), (_, fixed) = model.begin(features), model.begin(features)
        growing, fixed = growing.expand(2), fixed.expand(2).fixed(12)
        for token in tokens.unbind(1):
            (expected, growing), (found, fixed) = model.step(token, growing), model.step(token, fixed)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_sampling_stops_when_all_captions_have_ended():
    model, features = random_lstm(1), random_features(1, 3)
    model.output_bias.data[END] = 5.0
    chances = torch.rand(3, 4, 40, generator=torch.Generator().manual_seed(0))
    rules = Rules(max_tokens=40, eos_id=END)
    longest = max(
        len(one.tokens) for of_image in sample(model, features, rules, 4, chances=chances) for one in of_image
    )
    sampler = FixedSampler(model, rules, 4, features.device)
    assert 1 < longest < sampler.look and sampler(features, chances).shape == (3, 4, 1 + sampler.look)


def test_no_images():
    assert sample(few_words(0), random_features(0, 0), Rules(max_tokens=3, eos_id=END), 3) == []
