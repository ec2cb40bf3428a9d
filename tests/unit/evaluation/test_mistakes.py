"""Colours, numbers and gender in captions against people's captions, with figures that can be counted by
hand."""

import pytest

from captioning.evaluation.mistakes import mistakes, wrong

PEOPLE = {
    "1": ["a man in a red shirt", "a man in red", "he walks"],
    "2": ["two dogs", "2 gray dogs", "a couple of dogs"],
    "3": ["a person", "somebody in blue", "a woman"],
}
SAID = {"1": "a woman in a red hat", "2": "three grey dogs", "3": "a man in green"}


def test_figures_counted_by_hand():
    found = mistakes([(PEOPLE, SAID)], 200, 0)
    values = {
        name: {key: one["value"] for key, one in of.items() if key != "said"} for name, of in found.items()
    }
    assert {name: of["said"] for name, of in found.items()} == {"colour": 3, "number": 1, "gender": 2}
    # It says three; all three people say two.
    assert values["number"] == {"precision": 0, "contradicted": 1, "recall": 0}
    # One person alone tells the third's.
    assert values["gender"] == {"precision": 0, "contradicted": 0.5, "recall": 0}
    assert values["colour"] == pytest.approx({"precision": 2 / 3, "contradicted": 0, "recall": 1}, abs=1e-4)
    for of in found.values():
        assert of["precision"]["low"] <= of["precision"]["value"] <= of["precision"]["high"]


def test_folds_are_averaged():
    other = dict(SAID, **{"2": "two dogs"})
    found = mistakes([(PEOPLE, SAID), (PEOPLE, other)], 200, 0)
    assert found["number"]["precision"]["value"] == found["number"]["recall"]["value"] == 0.5


def test_captions_without_such_words_have_no_figures():
    found = mistakes([({"1": ["a dog"]}, {"1": "a cat"})], 200, 0)
    assert found == {name: {"said": 0} for name in ("colour", "number", "gender")}


def test_what_people_contradict_is_named():
    assert wrong(PEOPLE["1"], "two women in blue and red") == ["blue", "female"]
    assert wrong(PEOPLE["3"], "a man in green") == []
