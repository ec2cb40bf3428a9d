"""What the two fine-tuning stages share: batches of pixels from memory, and how well CLIP retrieves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from captioning.datasets import Data
from captioning.images import PixelStore, Preprocess


def pixels_of(data: Data, split: str, preprocess: Preprocess, workers: int) -> PixelStore:
    paths = data.images.loc[data.images["split"] == split, "path"].tolist()
    return PixelStore(paths, preprocess, workers, desc=f"decoding {split} images")


def shuffled(count: int, batch_size: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """Positions of all items once, a batch at a time, in an order that depends on seed and epoch alone.

    A last batch of one is left out: batch normalisation and contrast both need a second.
    """
    order = np.random.default_rng([seed, epoch]).permutation(count)
    for start in range(0, count, batch_size):
        if count - start > 1:
            yield order[start : start + batch_size]


def steps(count: int, batch_size: int) -> int:
    """Batches that `shuffled` yields."""
    return sum(1 for start in range(0, count, batch_size) if count - start > 1)


def shift(pixels: Tensor, most: int) -> Tensor:
    """Moves each image (B, 3, S, S) by up to `most` pixels in both directions, its edge mirrored: mild augmentation."""
    size = pixels.shape[-1]
    padded = F.pad(pixels.float(), (most,) * 4, mode="reflect").to(pixels.dtype)  # (B, 3, S+2m, S+2m)
    at = torch.randint(0, 2 * most + 1, (len(pixels), 2)).tolist()
    moved = [image[:, y : y + size, x : x + size] for image, (y, x) in zip(padded, at, strict=True)]
    return torch.stack(moved).contiguous(memory_format=torch.channels_last)  # (B, 3, S, S)


def retrieval(images: Tensor, texts: Tensor, owner: Tensor) -> dict[str, float]:
    """Recall at 1, 5 and 10, both ways, as Flickr8k's retrieval benchmarks count it.

    Args:
        images: (N, D) embeddings; texts: (M, D) embeddings; owner: (M,) the image that each text describes.

    Returns:
        `image_to_text_r1`, ... (an image finds one of its captions among the k nearest), `text_to_image_r1`, ...
        (a caption finds its image), and `mean_recall` of the six. Who stands level shares a mean rank, and what is no
        number comes last, so that embeddings which are all alike, or NaN, find nothing.
    """
    with torch.autocast(images.device.type, enabled=False):  # bf16 would put many level that are not
        similarity = F.normalize(images.float(), dim=-1) @ F.normalize(texts.float(), dim=-1).T  # (N, M)
    own = owner == torch.arange(len(images), device=owner.device)[:, None]  # (N, M)
    best = similarity.masked_fill(~own, -torch.inf).max(dim=1, keepdim=True).values
    level = (similarity == best) & ~own
    image_rank = (~(similarity <= best)).sum(dim=1) + level.sum(dim=1) / 2  # (N,) texts before an image's best caption
    right = similarity[owner, torch.arange(len(texts), device=owner.device)]  # (M,)
    text_rank = (~(similarity <= right)).sum(dim=0) + ((similarity == right).sum(dim=0) - 1) / 2  # (M,)
    found = {}
    for name, rank in (("image_to_text", image_rank), ("text_to_image", text_rank)):
        found |= {f"{name}_r{k}": (rank < k).float().mean().item() for k in (1, 5, 10)}
    return found | {"mean_recall": sum(found.values()) / 6}
