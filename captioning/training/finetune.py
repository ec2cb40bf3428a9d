"""What the two fine-tuning stages share: batches of pixels from memory, labels, and scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from captioning.core.device import pick_device
from captioning.core.errors import UserError
from captioning.data.dataset import Data
from captioning.features.images import Preprocess
from captioning.features.pixels import PixelStore
from captioning.training.distributed import equal_draws, share

SIDES = frozenset(("left", "right"))


def two_or_more(data: Data, stage: str) -> None:
    """Raises UserError if the training split has one image: batch normalisation and contrast need two."""
    if len(data.split("train")) < 2:
        raise UserError(
            f"{stage}: the training split has 1 image, and training needs 2 or more; add images, "
            f"or set {stage}.epochs to 0"
        )


def pixels_of(data: Data, split: str, preprocess: Preprocess, workers: int) -> PixelStore:
    paths, desc = list(data.column("path", split)), f"decoding {split} images"
    return PixelStore(paths, preprocess, workers, desc=desc, device=pick_device())


def shuffled(count: int, batch_size: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """Yields the positions of all items once, in batches, in an order that depends only on seed and epoch.

    A last batch of one is dropped: batch normalisation and contrast need two.
    """
    order = np.random.default_rng([seed, epoch]).permutation(count)
    for start in range(0, count, batch_size):
        if count - start > 1:
            yield order[start : start + batch_size]


def steps(count: int, batch_size: int) -> int:
    """The number of batches that `shuffled` yields."""
    return sum(1 for start in range(0, count, batch_size) if count - start > 1)


def mirrorable(captions: Iterable[list[str]]) -> Tensor:
    """(N,) bool: images whose captions say neither left nor right, so are true of the mirrored image."""
    return torch.tensor(
        [not any(SIDES & set(caption.split()) for caption in of_image) for of_image in captions]
    )


def augmented(
    pixels: PixelStore, mirror: Tensor, batch_size: int, seed: int, epoch: int
) -> Iterator[tuple[Tensor, np.ndarray]]:
    """Yields the batches of `shuffled`: pixels of this process's share, and the positions of the whole batch.

    Each image is shifted by up to a twelfth of its size in both directions. Half of those that `mirror` (N,)
    allows are mirrored. What is drawn for an image does not depend on the number of processes.
    """
    draws = equal_draws(seed, epoch)
    for index in shuffled(len(pixels), batch_size, seed, epoch):
        images = pixels.batch(share(index))
        most = images.shape[-1] // 12
        at = torch.randint(0, 2 * most + 1, (len(index), 2), generator=draws)
        mirrored = mirror[index] & (torch.rand(len(index), generator=draws) < 0.5)
        yield shift(flip(images, share(mirrored)), share(at), most), index


def in_order(pixels: PixelStore, batch_size: int) -> Iterator[Tensor]:
    """Yields the pixels of all images once, in the given order: for scores, not for training."""
    for start in range(0, len(pixels), batch_size):
        yield pixels.batch(range(start, min(start + batch_size, len(pixels))))


def flip(pixels: Tensor, mirrored: Tensor) -> Tensor:
    """Mirrors the images (B, 3, S, S) that `mirrored` (B,) marks."""
    mirrored = mirrored.to(pixels.device, non_blocking=True)[:, None, None, None]
    return torch.where(mirrored, pixels.flip(-1), pixels)


def shift(pixels: Tensor, at: Tensor, most: int) -> Tensor:
    """Moves each image (B, 3, S, S) to its place (B, 2), from 0 to twice `most`, with mirrored edges."""
    size, padded = pixels.shape[-1], pixels.permute(0, 2, 3, 1)
    for side in (1, 2):  # not `F.pad`, which mirrors no bytes
        before, after = padded.narrow(side, 1, most), padded.narrow(side, size - 1 - most, most)
        padded = torch.cat([before.flip(side), padded, after.flip(side)], side)  # (B, S+2m, S+2m, 3) at last
    cut = [image[y : y + size, x : x + size] for image, (y, x) in zip(padded, at.tolist(), strict=True)]
    return torch.stack(cut).permute(0, 3, 1, 2)  # (B, S, S, 3) -> (B, 3, S, S), channels_last


def label_matrix(captions: list[list[str]], words: list[str]) -> Tensor:
    """(N, L) float32: the share of image n's captions that contain word l, a soft label between 0 and 1."""
    index = {word: column for column, word in enumerate(words)}
    labels = torch.zeros(len(captions), len(words))
    for row, of_image in enumerate(captions):
        for caption in of_image:
            for word in set(caption.split()) & index.keys():
                labels[row, index[word]] += 1 / len(of_image)
    return labels


def average_precision(scores: Tensor, present: Tensor) -> Tensor:
    """Average precision of each label, (L,); NaN for a label that no image has.

    `scores` (N, L) rank the images, and `present` (N, L) bool marks the images with the label.
    """
    order = scores.argsort(dim=0, descending=True)
    hits = present.gather(0, order).float()  # (N, L), best first
    ranks = torch.arange(1, len(hits) + 1, device=hits.device).unsqueeze(1)  # (N, 1)
    return (hits.cumsum(dim=0) / ranks * hits).sum(dim=0) / hits.sum(dim=0)
