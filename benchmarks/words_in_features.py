"""How much image features say about captions: ridge regression from features to the dev captions' words:

    python -m benchmarks.words_in_features features/clip.h5      # after `dvc repro extract_clip`

For each content word it predicts the share of an image's captions that contain it. It uses standardized
features, linearly and with a Gaussian kernel, and a quarter, half and all of the training images. It prints
the explained share of the words' variance and the mean average precision of the 400 most frequent words, both
on dev, at the best of a few penalties. If doubling the images gains little, more captions would hardly help a
decoder of these features. If the kernel gains little over the linear fit, a larger network would hardly help.
Takes under a minute for 6,000 images on two cores.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from captioning.core.device import seed_everything
from captioning.core.errors import command
from captioning.data.content_words import content_words
from captioning.data.dataset import load_data
from captioning.features.store import FeatureStore
from captioning.training.finetune import average_precision, label_matrix
from models.standardize import Standardize

WORDS, RANKED = 1000, 400  # words to predict; the most frequent of them, for the mean precision
PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # times the mean eigenvalue
SHARES = (0.25, 0.5, 1.0)  # shares of the training images


def kernel_ridge(similar: Tensor, wanted: Tensor, asked: Tensor) -> dict[float, Tensor]:
    """Predictions (M, L) for each penalty.

    Args:
        similar: (N, N) kernel of the training images.
        wanted: (N, L) their labels, of mean 0.
        asked: (M, N) kernel of the images to predict and the training images.
    """
    values, vectors = torch.linalg.eigh(similar)
    turned, asked = vectors.T @ wanted, asked @ vectors
    strengths = {share: share * values.mean() for share in PENALTIES}
    return {share: asked @ (turned / (values + strength)[:, None]) for share, strength in strengths.items()}


def explained(predicted: Tensor, labels: Tensor, mean: Tensor) -> float:
    """1 - squared error / squared error of the mean (L,), over all words."""
    return 1 - ((predicted - labels).square().sum() / (mean - labels).square().sum()).item()


def kernels(train: Tensor, dev: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """The linear and the Gaussian kernel (of the median distance's width) of features (N, D) and (M, D)."""
    apart = torch.cdist(train, train).square()
    width = apart.median()
    return {
        "linear": (train @ train.T, dev @ train.T),
        "kernel": ((-apart / width).exp(), (-torch.cdist(dev, train).square() / width).exp()),
    }


@command
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("features", help="features/vgg16.h5 or features/clip.h5")
    options = parser.parse_args()
    seed_everything(0)
    data, store = load_data(), FeatureStore.open(options.features)
    captions = {split: list(data.tokens(split).values()) for split in ("train", "dev")}
    features = {
        split: torch.from_numpy(store.load(data.split(split))).double().flatten(1) for split in captions
    }
    words = content_words([caption for of_image in captions["train"] for caption in of_image], WORDS)
    labels = {split: label_matrix(of_split, words).double() for split, of_split in captions.items()}
    order = torch.randperm(len(labels["train"]))
    print(f"{options.features}: {len(words)} words, {len(features['dev'])} dev images")
    print(f"{'training images':>15}  {'':6}  explained  precision")
    for share in SHARES:
        chosen = order[: round(share * len(order))]
        train, mean = features["train"][chosen], labels["train"][chosen].mean(0)
        standardize = Standardize(train.shape[1]).double().fit(train)
        for name, (similar, asked) in kernels(standardize(train), standardize(features["dev"])).items():
            found = kernel_ridge(similar, labels["train"][chosen] - mean, asked).values()
            best = max(found, key=lambda one: explained(mean + one, labels["dev"], mean))
            ranked = average_precision(best[:, :RANKED], labels["dev"][:, :RANKED] > 0).nanmean().item()
            share_explained = explained(mean + best, labels["dev"], mean)
            print(f"{len(chosen):15,}  {name:6}  {share_explained:9.1%}  {ranked:9.3f}", flush=True)


if __name__ == "__main__":
    main()
