"""Baselines of an evaluation: people, nearest images, common and random captions."""

import numpy as np
import pytest

from captioning.evaluation import baselines


def test_humans_leave_each_reference_out_once():
    references = {"a": ["a1", "a2", "a3"], "b": ["b1", "b2"], "c": ["c1"]}
    folds = baselines.humans(references)
    assert [said for _, said in folds] == [
        {"a": "a1", "b": "b1"},
        {"a": "a2", "b": "b2"},
        {"a": "a3", "b": "b1"},
    ]
    assert folds[1][0] == {"a": ["a1", "a3"], "b": ["b1"]}
    assert baselines.humans({"c": ["c1"]}) == []


def test_one_reference_fewer_goes_round():
    references = {i: [i + "1", i + "2"] for i in "abc"} | {"d": ["d1"]}
    fewer, said = baselines.with_one_fewer(references, {i: "x" for i in "abcd"})
    assert fewer == {"a": ["a2"], "b": ["b1"], "c": ["c2"]}
    assert said == {"a": "x", "b": "x", "c": "x"}


@pytest.mark.parametrize("grid", [False, True])
def test_the_nearest_image_is_found_by_direction_in_any_block(grid, monkeypatch):
    monkeypatch.setattr(baselines, "BLOCK", 3)
    features = {f"t{n}": 10 * np.eye(8)[n] + 0.1 for n in range(8)}
    features |= {"q1": np.eye(8)[6], "q2": 0.001 * np.eye(8)[1], "q3": np.zeros(8)}

    def load(ids):
        rows = np.array([features[i] for i in ids], np.float16)
        return np.stack([rows * 2, rows * 0], axis=1).reshape(len(ids), 2, 1, 8) if grid else rows

    train = {f"t{n}": [f"caption {n}", f"caption {n}"] for n in range(8)}
    found = baselines.nearest(train, ["q1", "q2", "q3"], load, seed=0)
    assert found == {"q1": "caption 6", "q2": "caption 1", "q3": "caption 0"}


def test_common_and_random_captions():
    train = {"a": ["x", "y", "z"], "b": ["y", "x", "w"]}
    assert baselines.most_common(train, ["1", "2"]) == {"1": "x", "2": "x"}
    test = [str(n) for n in range(2000)]
    drawn = baselines.random(train, test, seed=1)
    assert drawn == baselines.random(train, test, seed=1)
    assert list(drawn) == test
    assert 550 < sum(caption == "x" for caption in drawn.values()) < 780  # a third of 2,000
