"""Diversity of caption sets, against scores computed by hand; the best of a set by coco-caption's CIDEr."""

import numpy as np
import pytest
from pycocoevalcap.cider.cider import Cider

from captioning.evaluation import extras, tables
from captioning.evaluation.variety import diversity, mutual_bleu, oracle

SETS = {
    "1": ["a dog runs on grass", "a dog runs on grass", "the cat"],
    "2": ["two birds", "a bird sings", "a bird"],
}


def test_scores_worked_out_by_hand():
    found = diversity(SETS | {"3": ["a single caption takes no part"]}, {"t": ["a bird", "a horse"]})
    assert found["captions"] == 3 and found["vocabulary"] == 11
    assert found["distinct"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["div_1"] == pytest.approx((7 / 12 + 5 / 7) / 2)
    assert found["div_2"] == pytest.approx((5 / 12 + 3 / 7) / 2)
    assert found["copied"] == pytest.approx(1 / 6)
    assert diversity({"3": ["alone"]}, {}) == {}


def test_systems_with_one_caption_an_image_are_left_out():
    """People, if every image has one reference, and captioners with `generate.diverse.captions: 1`."""
    sets = {"lstm": SETS, "clipcap": {image: texts[:1] for image, texts in SETS.items()}}
    found = extras._diversity(sets, {"1": ["a dog runs"], "2": ["a bird sings"]}, {}, 100, 0)
    assert list(found) == ["lstm"] and found["lstm"]["best_cider"]["value"] > 0
    more = {"systems": {"lstm": {}}, "diversity": found, "mistakes": {}, "notes": {}}
    assert "3 captions per image, lstm" in tables.more_table(more)[-1]


def test_mutual_bleu_is_1_of_equal_captions_and_0_of_strangers():
    assert mutual_bleu({"1": ["a dog runs on grass"] * 3}) == pytest.approx(1)
    assert mutual_bleu({"1": ["a dog runs on grass", "two cats sleep here today"]}) < 1e-3
    assert 0 < mutual_bleu(SETS) < 1


def test_the_best_of_a_set_is_coco_caption_s_cider_of_it():
    references = {
        "1": ["a dog runs", "a brown dog on grass"],
        "2": ["a bird sings", "one bird"],
        "3": ["a car"],
    }
    sets = SETS | {"3": ["a car", "cars"]}
    found = oracle(sets, references)
    for image, row in zip(sets, range(3), strict=True):
        each = []
        for caption in sets[image]:
            candidates = {other: [caption if other == image else "x"] for other in sets}
            each.append(Cider().compute_score(references, candidates)[1][row])
        assert found["best_cider"][row] == pytest.approx(max(each)) and max(each) > 0
        assert found["mean_cider"][row] == pytest.approx(np.mean(each))
