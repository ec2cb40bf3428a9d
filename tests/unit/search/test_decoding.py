"""Greedy search equals `generate`; images do not influence each other; reordered states stay right."""

import math

import pytest
import torch
from random_decoders import (
    END,
    FEATURES,
    MODELS,
    VOCABULARY,
    assert_same,
    generated,
    log_probs_after,
    random_clipcap,
    random_features,
    random_lstm,
)

from benchmarks.networks import library_gpt2
from captioning.search.base import Rules, greedy
from captioning.search.beam import beam_search
from models.lstm import LSTMConfig, LSTMDecoder


@pytest.mark.parametrize("seed", range(6))
def test_greedy_is_that_of_generate(seed):
    model, features = random_clipcap(seed), random_features(seed, 5)
    found = greedy(model, features, Rules(max_tokens=12, eos_id=END))
    assert_same(found, *generated(model, features, 1, 12))


@pytest.mark.parametrize("seed", range(6))
def test_bans_are_those_of_generate(seed):
    model, features = random_clipcap(seed), random_features(seed, 3)
    banned = {2, 5, 7}
    options = dict(banned_ids=banned, no_repeat_ngram=1 + seed % 3)
    theirs = dict(suppress_tokens=sorted(banned), no_repeat_ngram_size=1 + seed % 3)
    found = beam_search(model, features, Rules(beam_size=4, max_tokens=10, eos_id=END, **options))
    assert_same(found, *generated(model, features, 4, 10, **theirs))
    assert not banned & {token for captions in found for caption in captions for token in caption.tokens}
    found = greedy(model, features, Rules(max_tokens=10, eos_id=END, **options))
    assert_same(found, *generated(model, features, 1, 10, **theirs))


@pytest.mark.parametrize("kind", MODELS)
def test_images_do_not_influence_each_other(kind):
    model, grid = MODELS[kind](6)
    features = random_features(6, 9, grid)
    rules = Rules(beam_size=4, max_tokens=14, eos_id=END)
    for search in (greedy, beam_search):
        together = search(model, features, rules)
        # Some leave the batch before others.
        assert len({len(captions[0].tokens) for captions in together}) > 1
        for image, captions in enumerate(together):
            (alone,) = search(model, features[image : image + 1], rules)
            assert [caption.tokens for caption in captions] == [caption.tokens for caption in alone]
            assert [c.score for c in captions] == pytest.approx([c.score for c in alone], abs=1e-5)


@pytest.mark.parametrize("kind", MODELS)
@torch.no_grad()
def test_log_probabilities_are_the_tokens_own(kind):
    model, grid = MODELS[kind](2)
    features = random_features(2, 3, grid)
    rules = Rules(beam_size=3, max_tokens=8, eos_id=END, length_penalty=0.5)
    for search in (greedy, beam_search):
        for image, captions in enumerate(search(model, features, rules)):
            for caption in captions:
                tokens = caption.tokens + [END] * caption.ended
                wanted = [
                    log_probs_after(model, features[image : image + 1], tokens[:i])[token]
                    for i, token in enumerate(tokens)
                ]
                assert caption.log_probs == pytest.approx(wanted, abs=1e-4)
                assert caption.score == pytest.approx(sum(wanted) / math.sqrt(len(wanted)), abs=1e-4)


def test_no_images():
    for model in (random_clipcap(0), random_lstm(0)):
        nothing = torch.zeros(0, FEATURES)
        assert beam_search(model, nothing, Rules(beam_size=3, max_tokens=4, eos_id=END)) == []
        assert greedy(model, nothing, Rules(max_tokens=4, eos_id=END)) == []


def test_the_search_leaves_the_model_in_its_mode():
    model = LSTMDecoder(LSTMConfig(VOCABULARY, FEATURES, embed_dim=16, hidden_size=16)).train()
    features = random_features(0, 4)
    rules = Rules(beam_size=3, max_tokens=8, eos_id=END)
    assert beam_search(model, features, rules) == beam_search(model, features, rules)  # no dropout
    assert model.training and model.dropout.training
    assert beam_search(model.eval(), features, rules) and not model.training


# ---- the states that the search reorders -------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("seed", range(4))
def test_cached_logits_are_those_of_a_full_forward_after_any_reordering(seed):
    """Beams are shuffled, doubled and dropped at random; in 20 steps the cache grows twice."""
    model, images, beams = random_clipcap(seed), 5, 3
    generator = torch.Generator().manual_seed(seed)
    features = random_features(seed, images)
    library, prefix = library_gpt2(model.gpt), model.prefix(features)  # (B, P, E)
    logits, state = model.begin(features)
    torch.testing.assert_close(logits, library(inputs_embeds=prefix).logits[:, -1], rtol=1e-5, atol=1e-5)
    state = state.expand(beams)
    paths = torch.zeros(images, beams, 0, dtype=torch.int64)
    for step in range(20):
        stay = {4: [0, 2, 3, 4], 11: [0, 2]}.get(step, list(range(len(paths))))  # images leave twice
        parents = torch.randint(beams, (len(stay), beams), generator=generator)
        rows = torch.tensor(stay)[:, None] * beams + parents
        tokens = torch.randint(VOCABULARY, (len(stay), beams), generator=generator)
        prefix, paths = prefix[stay], paths[stay].take_along_dim(parents[..., None], 1)
        paths = torch.cat([paths, tokens[..., None]], dim=2)
        logits, state = model.step(tokens.flatten(), state.select(rows.flatten()))
        text = model.gpt.transformer.wte(paths.flatten(0, 1))
        full = torch.cat([prefix.repeat_interleave(beams, 0), text], dim=1)
        torch.testing.assert_close(logits, library(inputs_embeds=full).logits[:, -1], rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("grid", [False, True])
def test_lstm_rows_follow_their_image_after_any_reordering(grid):
    model, images, beams = random_lstm(0, grid), 4, 3
    features = random_features(0, images, grid)
    _, state = model.begin(features)
    state = state.expand(beams)
    tokens = torch.arange(images * beams) % VOCABULARY
    _, state = model.step(tokens, state)
    rows = torch.tensor([2, 0, 0, 7, 6, 8, 11, 11, 9])  # image 1 leaves
    logits, _ = model.step(torch.full((9,), 4), state.select(rows))
    for i, row in enumerate(rows.tolist()):
        image = row // beams
        wanted = log_probs_after(model, features[image : image + 1], [int(tokens[row]), 4])
        torch.testing.assert_close(logits[i].log_softmax(0), torch.tensor(wanted), rtol=1e-5, atol=1e-5)


def test_expanding_after_a_step_is_an_error():
    model = random_clipcap(0)
    with torch.no_grad():
        _, state = model.begin(random_features(0, 2))
        _, state = model.step(torch.tensor([3, 4]), state)
    with pytest.raises(ValueError, match="before the first step"):
        state.expand(3)


def test_captions_end_with_the_model_s_positions():
    model = random_clipcap(0)  # 32 positions, 3 for the prefix; the last token needs none
    for search in (greedy, beam_search):
        (captions,) = search(
            model, random_features(0, 1), Rules(beam_size=2, max_tokens=50, eos_id=VOCABULARY)
        )
        assert {len(caption.tokens) for caption in captions} == {30}
        assert not any(caption.ended for caption in captions)
