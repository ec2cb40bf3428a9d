"""Scenes: the same seed gives the same scenes, captions are true of their pictures, splits, smooth edges."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from scenes.captions import write_captions
from scenes.drawing.pen import SUPERSAMPLE, Pen
from scenes.facts import sample
from scenes.making import draw, split_of, write
from scenes.reading import check, mentioned, true_of

MANY = 600


@pytest.fixture(scope="module")
def told() -> list[tuple[dict, list[str]]]:
    """The facts and captions of many scenes, without their pictures."""
    pairs = []
    for index in range(MANY):
        facts = sample(np.random.default_rng([0, index, 0]))
        pairs.append((facts, write_captions(facts, np.random.default_rng([0, index, 1]))))
    return pairs


def test_files_are_the_same_whatever_the_number_of_workers(tmp_path):
    rows = {
        workers: list(write(tmp_path / str(workers), images=24, seed=3, size=96, workers=workers))
        for workers in (1, 2, 3)
    }
    assert rows[1] == rows[2] == rows[3]
    for _, name, *_ in rows[1]:
        assert len({(tmp_path / str(workers) / name).read_bytes() for workers in (1, 2, 3)}) == 1


def test_seeds_and_indices_differ():
    pictures = [draw(index, seed, 64).image.tobytes() for seed in (0, 1) for index in (0, 1)]
    assert len(set(pictures)) == 4
    assert draw(0, 0, 64).image.tobytes() == pictures[0]


def test_written_files_have_the_size_and_the_splits(tmp_path):
    rows = list(write(tmp_path, images=20, seed=0, size=224, workers=2))
    assert [row[0] for row in rows] == [f"{k:05d}" for k in range(20)]
    assert Counter(row[2] for row in rows) == {"train": 16, "dev": 2, "test": 2}
    for _, name, _, captions, facts in rows:
        with Image.open(tmp_path / name) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (224, 224))
        assert len(captions) == 5
        assert json.loads(json.dumps(facts)) == facts
    assert Counter(split_of(k) for k in range(2000)) == {"train": 1600, "dev": 200, "test": 200}


def test_captions_are_five_and_differ(told):
    for _, captions in told:
        assert len(captions) == len(set(captions)) == 5
        for caption in captions:
            assert (
                caption[0].isupper() and caption.endswith(".") and "{" not in caption and "  " not in caption
            )


def test_vocabulary_is_wide_and_no_word_rules(told):
    counts = Counter(
        word for _, captions in told for caption in captions for word in caption.lower().rstrip(".").split()
    )
    assert len(counts) >= 200
    kinds = Counter(facts["subjects"][0]["kind"] for facts, _ in told)
    assert len(kinds) >= 12 and max(kinds.values()) < 0.2 * MANY
    places = Counter(facts["place"] for facts, _ in told)
    assert len(places) == 9 and max(places.values()) < 0.25 * MANY


def test_every_fact_a_caption_mentions_is_true_of_its_scene(told):
    mentions = 0
    for facts, captions in told:
        true = true_of(facts)
        for caption in captions:
            for category, labels in mentioned(caption).items():
                mentions += len(labels)
                wrong = set(labels) - set(true[category])
                assert not wrong, f"{caption!r} mentions {category} {wrong}, scene: {facts}"
    assert mentions > 4 * 5 * MANY


def test_captions_of_another_scene_are_mostly_found_wrong(told):
    """Shows that the check above can fail: captions moved to the next scene contradict it nearly always."""
    contradicted = 0
    for (facts, _), (_, captions) in pairwise(told):
        true = true_of(facts)
        contradicted += any(set(labels) - set(true[c]) for c, labels in mentioned(captions[0]).items())
    assert contradicted > 0.9 * (MANY - 1)


def test_five_captions_together_tell_the_whole_scene(told):
    named = total = 0
    for facts, captions in told:
        said = {
            (c, label) for caption in captions for c, labels in mentioned(caption).items() for label in labels
        }
        for category, labels in true_of(facts)["core"]:
            total += 1
            named += any((category, label) in said for label in labels)
    assert named > 0.93 * total


def test_reader_knows_who_what_and_where():
    found = mentioned("Two men in red shirts are walking a brown dog on the beach at sunset.")
    assert found == {
        "kind": ["dog", "man"],
        "count": ["one dog", "two man"],
        "colour": ["brown dog", "red clothes"],
        "action": ["walk"],
        "place": ["beach"],
        "time": ["sunset"],
    }
    assert mentioned("zebra xylophone") == {c: [] for c in found}


def test_check_scores_any_caption_against_a_scene():
    dog = {"kind": "dog", "count": 1, "action": "run", "colour": "brown"}
    facts = {"place": "beach", "time": "day", "subjects": [dog], "objects": [], "relation": None}
    assert check("A brown dog runs on the beach.", facts) == {"precision": 1.0, "recall": 1.0, "wrong": []}
    poor = check("Two black dogs are sitting on the beach.", facts)
    assert poor["wrong"] == ["two dog", "black dog", "sit"]
    assert (poor["precision"], poor["recall"]) == (0.4, 0.5)
    assert check("Hello.", facts)["recall"] == 0.0


def test_edges_are_smooth():
    """An anti-aliased edge of a black disc on white is grey most of the way round; a hard edge has no
    grey."""
    size = 100
    image = Image.new("RGB", (size * SUPERSAMPLE, size * SUPERSAMPLE), (255, 255, 255))
    Pen(image).ellipse(0.5, 0.5, 0.4, colour=(0, 0, 0))
    disc = np.asarray(image.reduce(SUPERSAMPLE))[..., 0].astype(int)  # (H, W)
    grey = np.count_nonzero((disc > 10) & (disc < 245))
    assert np.count_nonzero(disc < 10) > 4000
    assert grey > 0.6 * 2 * np.pi * 0.4 * size


def test_pictures_are_rich_and_differ_within_a_place():
    scenes = [draw(index, seed=0, size=112) for index in range(12)]
    for scene in scenes:
        assert len(scene.image.getcolors(112 * 112)) > 500
        assert np.asarray(scene.image).std() > 25
    assert len({scene.image.tobytes() for scene in scenes}) == 12


def test_nothing_is_drawn_below_the_waterline():
    image = Image.new("RGB", (300, 300), (255, 255, 255))
    figure = Pen(image).figure(0.5, 0.5, 0.5)
    figure.ellipse(0.0, 0.0, 0.6, colour=(0, 0, 0))
    figure.finish(waterline=0.5)
    black = np.asarray(image)[..., 0] < 128
    assert black[:148].sum() > 10_000
    assert black[154:].sum() == 0
