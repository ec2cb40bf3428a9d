"""Ridge regression on features: the figure for how much they say about captions."""

import pytest
import torch

from benchmarks.words_in_features import PENALTIES, explained, kernel_ridge, kernels


def test_kernel_ridge_is_ridge_regression():
    generator = torch.Generator().manual_seed(0)
    train, dev = (torch.randn(n, 5, generator=generator, dtype=torch.float64) for n in (40, 7))
    wanted = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    similar, asked = kernels(train, dev)["linear"]
    found = kernel_ridge(similar, wanted, asked)
    for share in PENALTIES:
        strength = share * similar.trace() / 40
        weights = torch.linalg.solve(
            train.T @ train + strength * torch.eye(5, dtype=torch.float64), train.T @ wanted
        )
        torch.testing.assert_close(found[share], dev @ weights)


def test_explained_is_all_of_the_labels_keep_start_of_them():
    labels = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    mean = labels.mean(0)
    assert explained(labels, labels, mean) == 1
    assert explained(mean.expand(3, 2), labels, mean) == 0


def test_the_gaussian_kernel_sees_what_a_line_cannot():
    features = torch.linspace(-1, 1, 60, dtype=torch.float64)[:, None]
    labels = features.square() - features.square().mean()
    shares = {
        name: max(
            explained(found, labels, labels.mean(0))
            for found in kernel_ridge(similar, labels, asked).values()
        )
        for name, (similar, asked) in kernels(features, features).items()
    }
    assert shares["linear"] == pytest.approx(0, abs=0.01)
    assert shares["kernel"] > 0.9
