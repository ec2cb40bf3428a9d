"""CIDEr-D against a whole corpus at once equals the sum of `captioning.metrics.cider` over its images."""

import numpy as np
import pytest

from captioning.metrics.cider import CiderD
from captioning.metrics.expected_cider import ExpectedCiderD

CORPUS = [
    ["a dog runs on the grass", "a brown dog runs"],
    ["a dog jumps on the grass", "a dog in the grass", "grass"],
    ["two birds sit on a wire", "birds on a wire and birds on a roof"],
    ["a red car on a road , a red road", "a car drives"],
]
SAID = [
    "two birds sit on a wire",
    "a red car on a red red road on a red car on a road",
    "a dog jumps on the grass",
    "a zebra",
    "a zebra and a zebra and a zebra on a zebra",
    "unheard unheard unheard unheard unheard",
    "grass",
    "a",
    "",
]


@pytest.mark.parametrize("image", range(len(CORPUS)))
def test_one_image_is_what_cider_d_says(image):
    expected = CiderD(CORPUS).scores(CORPUS[image], SAID)
    assert max(expected) > 1
    assert ExpectedCiderD(CORPUS).scores(np.eye(len(CORPUS))[image], SAID) == pytest.approx(
        expected, abs=1e-6
    )


def test_shares_of_any_sign_add_up():
    shares = np.array([0.7, -0.2, 0.0, 0.5])
    each = np.array([CiderD(CORPUS).scores(references, SAID) for references in CORPUS])  # (N, B)
    assert ExpectedCiderD(CORPUS).scores(shares, SAID) == pytest.approx(shares @ each, abs=1e-6)


def test_captions_do_not_depend_on_their_company():
    judge, shares = ExpectedCiderD(CORPUS), np.array([0.7, -0.2, 0.3, 0.5])
    assert judge.scores(shares, SAID) == pytest.approx(
        [judge.scores(shares, [said])[0] for said in SAID], abs=1e-12
    )


def test_a_corpus_of_one_word_has_no_pairs():
    corpus = [["dog"], ["cat"]]
    scores = ExpectedCiderD(corpus).scores(np.array([1.0, 0.0]), ["dog", "cat", "a dog"])
    assert scores == pytest.approx(CiderD(corpus).scores(["dog"], ["dog", "cat", "a dog"]), abs=1e-6)
    assert ExpectedCiderD(corpus).scores(np.array([1.0, 0.0]), []).shape == (0,)
