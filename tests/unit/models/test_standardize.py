"""Features get mean 0 and variance 1 from the training statistics; a dropped feature becomes the mean."""

import pytest
import torch

from models.standardize import LEAST, ROWS, Standardize


@pytest.mark.parametrize("shape", [(ROWS + 7, 5), (40, 7, 6, 5)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_training_features_have_mean_0_and_variance_1(shape, dtype):
    torch.manual_seed(0)
    features = (torch.randn(shape) * torch.tensor([0.5, 1, 2, 3, 0.8]) + torch.arange(5) * 10).to(dtype)
    standard = Standardize(5).fit(features)(features).flatten(0, -2)
    torch.testing.assert_close(standard.mean(0), torch.zeros(5), rtol=0, atol=1e-4)
    torch.testing.assert_close(standard.std(0, unbiased=False), torch.ones(5), rtol=0, atol=1e-4)


def test_a_feature_that_never_varies_is_not_blown_up():
    features = torch.randn(50, 4)
    features[:, 2] = 3.0
    module = Standardize(4).fit(features)
    least = LEAST * features.std(0, unbiased=False).mean().item()
    features[0, 2] = 4.0
    assert module(features)[0, 2].item() == pytest.approx(1 / least, rel=1e-3)
    assert torch.equal(Standardize(4).fit(torch.ones(9, 4))(torch.ones(2, 4)), torch.zeros(2, 4))


def test_features_in_parts_are_read_twice():
    class Parts:
        read = 0

        def __iter__(self):
            self.read += 1
            yield from features.split(40)

    features, parts = torch.randn(100, 4), Parts()
    found, whole = Standardize(4).fit(parts), Standardize(4).fit(features)
    torch.testing.assert_close((found.mean, found.std), (whole.mean, whole.std))
    assert parts.read == 2


def test_before_it_has_seen_features_it_changes_none():
    features = torch.randn(3, 4)
    assert torch.equal(Standardize(4)(features), features)
    assert Standardize(4, stored=False).state_dict() == {}


def test_dropped_beforehand_is_dropped():
    module = Standardize(6, dropout=0.5).fit(torch.randn(100, 6) * 3 + 10)
    features = torch.randn(8, 6) * 3 + 10
    torch.manual_seed(1)
    within = module(features)
    torch.manual_seed(1)
    dropped = module.drop(features)
    torch.testing.assert_close(module.eval()(dropped), within, rtol=0, atol=1e-5)
    assert 10 < (within == 0).sum() < 38
    assert torch.equal(module(features), module(features))
