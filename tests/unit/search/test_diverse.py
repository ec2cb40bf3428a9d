"""Diverse beam search equals a plain version without batches and caches; its first group is beam search."""

from dataclasses import replace

import pytest
import torch
from random_decoders import END, MODELS, log_probs_after, random_clipcap, random_features, random_lstm

from captioning.core import settings
from captioning.search.base import Rules
from captioning.search.beam import beam_search
from captioning.search.diverse import distinct, diverse_beam_search

RULES = Rules(beam_size=2, max_tokens=7, eos_id=END)


def plain_diverse(model, features, groups: int, strength: float, beams: int, max_tokens: int, penalty: float):
    """(score, tokens with the end) of each group's best beam: one image, Python lists."""
    live, ended = [[(0.0, [])] for _ in range(groups)], [[] for _ in range(groups)]
    for length in range(1, max_tokens + 1):
        taken = []
        for group in range(groups):
            options = []
            for total, tokens in live[group]:
                for token, log_prob in enumerate(log_probs_after(model, features, tokens)):
                    options.append((total + log_prob - strength * taken.count(token), [*tokens, token]))
            options = sorted(options, key=lambda option: -option[0])[: 2 * beams]
            last = length == max_tokens
            for total, tokens in options[:beams]:
                if last or tokens[-1] == END:
                    ended[group].append((total / length**penalty, tokens))
            ended[group] = sorted(ended[group], key=lambda caption: -caption[0])[:beams]
            live[group] = [option for option in options if not last and option[1][-1] != END][:beams]
            best = live[group][0][0] / length**penalty if live[group] else None
            if best is not None and len(ended[group]) == beams and best <= ended[group][-1][0]:
                live[group] = []
            taken += [tokens[-1] for _, tokens in live[group]]
    return [captions[0] for captions in ended]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("strength,penalty", [(0.5, 1.0), (3.0, 0.7)])
@torch.no_grad()
def test_captions_are_those_of_a_plain_search(kind, strength, penalty):
    model, grid = MODELS[kind](3)
    features = random_features(3, 4, grid)
    found = diverse_beam_search(
        model, features, replace(RULES, length_penalty=penalty), groups=3, strength=strength
    )
    for image, captions in enumerate(found):
        one = features[image : image + 1]
        plain = plain_diverse(model, one, 3, strength, 2, 7, penalty)
        assert [caption.tokens + [END] * caption.ended for caption in captions] == [
            tokens for _, tokens in plain
        ]
        assert [caption.score for caption in captions] == pytest.approx(
            [score for score, _ in plain], abs=1e-4
        )
        for caption in captions:
            tokens = caption.tokens + [END] * caption.ended
            own = [log_probs_after(model, one, tokens[:i])[token] for i, token in enumerate(tokens)]
            assert caption.log_probs == pytest.approx(own, abs=1e-4), "without the charges"


@pytest.mark.parametrize("seed", range(3))
def test_the_first_group_is_beam_search_and_the_others_move_away(seed):
    model, features = random_clipcap(seed), random_features(seed, 8)
    best = [captions[0].tokens for captions in beam_search(model, features, RULES)]
    distinct = []
    for strength in (0.0, 0.5):
        found = diverse_beam_search(model, features, RULES, groups=4, strength=strength)
        assert [captions[0].tokens for captions in found] == best
        distinct.append(sum(len({tuple(caption.tokens) for caption in captions}) for captions in found))
    assert distinct[0] == 8, "every group says the same"
    assert distinct[1] > 16


def test_bans_hold_and_no_images_are_no_error():
    model, banned = random_lstm(1), {2, 5, 7}
    groups = dict(groups=3, strength=1.0)
    found = diverse_beam_search(
        model, random_features(1, 3), replace(RULES, banned_ids=banned, no_repeat_ngram=1), **groups
    )
    for caption in (caption for captions in found for caption in captions):
        assert not banned & set(caption.tokens) and len(set(caption.tokens)) == len(caption.tokens)
    assert diverse_beam_search(model, torch.zeros(0, 8), RULES, **groups) == []
    with pytest.raises(ValueError, match="1 or more"):
        diverse_beam_search(model, random_features(1, 1), RULES, **groups | {"groups": 0})


class Words:
    """Tokens as words, two of which have the same spelling."""

    eos_id, banned_ids = END, ()

    def decode(self, tokens):
        return " ".join("5" if token == 6 else str(token) for token in tokens)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("method,temperature", [("nucleus", 0.05), ("nucleus", 1.0), ("beams", 0.5)])
def test_captions_that_differ_are_as_many_as_asked(kind, method, temperature):
    """Also if draws are nearly always the same, or diversity costs nothing."""
    model, grid = MODELS[kind](3)
    features = random_features(3, 5, grid)
    options = settings.load().generate
    diverse = options.diverse.model_copy(
        update={"method": method, "temperature": temperature, "strength": 0.0}
    )
    options = options.model_copy(update={"diverse": diverse, "max_tokens": 7})
    torch.manual_seed(0)
    for most_rows in (1, 512):
        found = distinct(model, features, options, Words(), 6, most_rows)
        assert [len({Words().decode(one.tokens) for one in captions}) for captions in found] == [6] * 5
        assert [len(captions) for captions in found] == [6] * 5
