"""Consensus with the nearest training images: who is asked, and what they choose."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from captioning import settings
from captioning.cider_d import CiderD
from captioning.consensus import Consensus
from captioning.decoding import Hypothesis
from captioning.text import word_vocabulary

REFERENCES = [
    ["a dog runs on the grass", "a brown dog runs"],
    ["a dog jumps on the grass", "a dog in the grass"],
    ["two birds sit on a wire", "birds on a wire"],
    ["a red car on a road", "a car drives"],
]
SAID = ["two birds sit on a wire", "a red car on a road", "a dog jumps on the grass"]
TEXT = word_vocabulary([caption for of_image in REFERENCES for caption in of_image], 1)
FEATURES = np.array([[9.0, 1, 0], [8, 2, 0], [0, 9, 1], [1, 0, 9]], np.float16)


def consensus(neighbours: int, weight: float = 1.0, features: np.ndarray = FEATURES) -> Consensus:
    return Consensus(features, REFERENCES, TEXT, neighbours, weight)


def found(*scores: float) -> list[Hypothesis]:
    return [Hypothesis(TEXT.encode([said])[0][:-1], score, [], True) for said, score in zip(SAID, scores, strict=True)]


def test_the_nearest_are_asked_and_never_more_than_there_are():
    assert consensus(1).nearest(torch.from_numpy(FEATURES)) == [[0], [1], [2], [3]]
    assert consensus(2).nearest(torch.tensor([[9.0, 1.2, 0]])) == [[0, 1]]
    assert sorted(consensus(99).nearest(torch.ones(1, 3))[0]) == [0, 1, 2, 3]


def test_a_grid_is_as_its_mean():
    grid = np.stack([FEATURES - 1, FEATURES + 1], axis=1)[:, None]  # (N, 1, 2, D)
    asked = torch.tensor([[5.0, 5, 1]])
    assert consensus(3).nearest(asked) == consensus(3, features=grid).nearest(asked[:, None, None].expand(1, 2, 2, 3))


def test_captions_are_ranked_by_score_and_cider_d_against_the_neighbours():
    asked = torch.tensor([[9.0, 1, 0]])
    assert consensus(2).nearest(asked) == [[0, 1]]
    agreed = CiderD(REFERENCES).scores(REFERENCES[0] + REFERENCES[1], SAID)  # rare is what is rare among all
    chosen = set()
    for weight in (0.0, 0.01, 0.1, 0.5, 1.0, 10.0):
        scores = (-0.5, -0.6, -1.0)
        wanted = SAID[int(np.argmax(np.array(scores) + weight * np.array(agreed)))]
        [best] = consensus(2, weight).best(asked, [found(*scores)])
        assert TEXT.decode(best.tokens) == wanted
        chosen.add(wanted)
    assert chosen == {SAID[0], SAID[2]}, "the search's choice at first, then the neighbours'"


def test_among_equals_the_searchs_choice_stays():
    asked = torch.from_numpy(FEATURES[:1])
    assert consensus(4, 0.0).best(asked, [found(-1.0, -1.0, -1.0)])[0].tokens == found(0, 0, 0)[0].tokens


def test_one_beam_leaves_nothing_to_choose_from():
    values = settings.read_yaml("params.yaml")["generate"]
    with pytest.raises(ValidationError, match="beam_size 2 or more"):
        settings.Generate(**values | {"beam_size": 1, "consensus": {"neighbours": 3, "weight": 1.0}})
