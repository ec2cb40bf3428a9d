"""The loss that CLIP is trained with (Radford et al. 2021), told which pairs are no negatives."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_SCALE = math.log(100)  # CLIP's authors clamp the inverse temperature to 100


def contrastive_loss(images: Tensor, texts: Tensor, log_scale: Tensor, same: Tensor | None = None) -> Tensor:
    """Symmetric cross-entropy over the similarities of all images with all texts of a batch.

    Args:
        images, texts: (B, D) embeddings; row i of one belongs to row i of the other.
        log_scale: () logarithm of the inverse temperature, clamped to 100.
        same: (B, B) bool, text j describes image i, too: left out as negatives (`same_pairs`).
    """
    with torch.autocast(images.device.type, enabled=False):  # bf16 would be off by up to 0.1 in a logit
        similarity = F.normalize(images.float(), dim=-1) @ F.normalize(texts.float(), dim=-1).T  # (B, B)
    logits = similarity * log_scale.float().clamp(max=MAX_SCALE).exp()
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    if same is not None:
        logits = logits.masked_fill(same & ~own, -torch.inf)
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def mean_direction(embeddings: Tensor) -> Tensor:
    """One embedding of several that belong together: (B, K, D) -> (B, D), the mean of all K at length 1."""
    if embeddings.shape[1] == 1:
        return embeddings[:, 0]
    return F.normalize(embeddings.float(), dim=-1).mean(dim=1)


def same_pairs(pictures: Tensor, texts: Tensor) -> Tensor:
    """Which texts describe which images, though another row's: (B, B) bool, true where text j belongs to image i.

    So it does where a third row has picture i and the words of text j, row i and row j themselves included.

    Args:
        pictures: (B,) a number for each row's picture, equal where the pictures are; texts: (B, L) tokens.
    """
    same_picture = pictures[:, None] == pictures[None]  # (B, B)
    same_words = (texts[:, None] == texts[None]).all(dim=-1)  # (B, B)
    with torch.autocast(pictures.device.type, enabled=False):
        return (same_picture.float() @ same_words.float()) > 0
