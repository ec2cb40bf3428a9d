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
        same: (B, B) bool, pairs that describe the same image or in the same words: left out as negatives.
    """
    with torch.autocast(images.device.type, enabled=False):  # bf16 would be off by up to 0.1 in a logit
        similarity = F.normalize(images.float(), dim=-1) @ F.normalize(texts.float(), dim=-1).T  # (B, B)
    logits = similarity * log_scale.float().clamp(max=MAX_SCALE).exp()
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    if same is not None:
        logits = logits.masked_fill(same & ~own, -torch.inf)
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
