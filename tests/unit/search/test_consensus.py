"""Consensus with training images: the weight of each image, and the captions they choose."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from captioning.core import settings
from captioning.decoders.vocabulary import word_vocabulary
from captioning.metrics.cider import CiderD
from captioning.search.base import Hypothesis
from captioning.search.consensus import PENALTY, Consensus

REFERENCES = [
    ["a dog runs on the grass", "a brown dog runs"],
    ["a dog jumps on the grass", "a dog in the grass"],
    ["two birds sit on a wire", "birds on a wire"],
    ["a red car on a road", "a car drives"],
]
SAID = ["two birds sit on a wire", "a red car on a road", "a dog jumps on the grass"]
TEXT = word_vocabulary([caption for of_image in REFERENCES for caption in of_image], 1)
FEATURES = np.array([[9.0, 1, 0], [8, 2, 0], [0, 9, 1], [1, 0, 9]], np.float16)


def consensus(weight: float = 1.0, features: np.ndarray = FEATURES) -> Consensus:
    return Consensus(features, REFERENCES, TEXT, weight)


def found(*scores: float) -> list[Hypothesis]:
    return [
        Hypothesis(TEXT.encode([said])[0][:-1], score, [], True)
        for said, score in zip(SAID, scores, strict=True)
    ]


def test_shares_predict_what_ridge_regression_predicts():
    """The shares predict any label of the training images like the textbook's normal equations with an
    intercept."""
    generator = np.random.default_rng(0)
    train, asked, labels = (generator.normal(size=shape) for shape in ((30, 5), (4, 5), (30, 2)))
    train = train.astype(np.float16)
    one = Consensus(train, [["a dog"]] * 30, TEXT, 1.0)
    rows, queries = ((x - train.mean(0, float)) / train.std(0, float) for x in (train.astype(float), asked))
    ridge = PENALTY * (rows**2).sum() / 30 * np.eye(5)
    wanted = labels.mean(0) + queries @ np.linalg.solve(
        rows.T @ rows + ridge, rows.T @ (labels - labels.mean(0))
    )
    shares = one.shares(torch.from_numpy(asked).float())
    assert shares.shape == (4, 30) and shares.sum(1) == pytest.approx(1, abs=1e-3)
    assert shares @ labels == pytest.approx(wanted, abs=5e-3)


def test_what_an_image_is_like_counts_most():
    assert consensus().shares(torch.from_numpy(FEATURES[2:])).argmax(1).tolist() == [2, 3]
    first, second, *others = consensus().shares(torch.tensor([[8.5, 1.5, 0]]))[0]
    assert min(first, second) > 0.25 > max(others)


def test_a_grid_is_as_its_mean():
    grid = np.stack([FEATURES - 1, FEATURES + 1], axis=1)[:, None]  # (N, 1, 2, D)
    asked = torch.tensor([[5.0, 5, 1]])
    shares = consensus(features=grid).shares(asked[:, None, None].expand(1, 2, 2, 3))
    assert shares == pytest.approx(consensus().shares(asked))


@pytest.mark.parametrize("images", [1, 4])
def test_images_that_are_all_alike_count_alike(images):
    alike = Consensus(np.full((images, 3), 7, np.float16), REFERENCES[:images], TEXT, 1.0)
    assert alike.shares(torch.tensor([[7.0, 7, 7], [0, 1, 9]])) == pytest.approx(1 / images)


def test_captions_are_ranked_by_score_and_expected_cider_d():
    asked = torch.tensor([[9.0, 1, 0]])
    judge, shares = CiderD(REFERENCES), consensus().shares(asked)[0]
    expected = shares @ [judge.scores(references, SAID) for references in REFERENCES]
    chosen = set()
    for weight in (0.01, 0.05, 0.1, 0.5, 1.0, 10.0):
        scores = (-0.5, -0.6, -1.0)
        wanted = SAID[int(np.argmax(np.array(scores) + weight * expected))]
        [best] = consensus(weight).best(asked, [found(*scores)])
        assert TEXT.decode(best.tokens) == wanted
        chosen.add(wanted)
    assert chosen == {SAID[0], SAID[2]}, "the search's choice at first, then the training images'"


def test_among_equals_the_searchs_choice_stays():
    asked = torch.from_numpy(FEATURES[:1])
    [same] = consensus().best(asked, [found(-1.0, -1.0, -1.0)[2:] * 2])
    assert same.tokens == found(0, 0, 0)[2].tokens
    assert consensus(0.0).best(asked, [found(-1.0, -1.0, -1.0)])[0].tokens == found(0, 0, 0)[0].tokens


def test_one_beam_leaves_nothing_to_choose_from():
    values = settings.read_yaml("params.yaml")["generate"]
    with pytest.raises(ValidationError, match="beam_size 2 or more"):
        settings.GenerateSettings(**values | {"beam_size": 1, "consensus": 1.0})
