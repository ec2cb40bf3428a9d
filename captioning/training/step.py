"""What training does with one batch, launched by the host, or recorded once and replayed by a GPU."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from captioning.training.graphs import CastWeights, Recorded

Step = Callable[..., tuple[Tensor, Tensor]]  # batch -> its loss and the gradient's norm, both still on the device


def training_step(
    model: nn.Module,
    loss: Callable[..., Tensor],
    optimizer: torch.optim.Optimizer,
    accelerator: Accelerator,
    clip_norm: float,
    weights: CastWeights | None = None,
) -> Step:
    """Loss, gradient, clipping, the optimiser's step.

    Args:
        loss: batch -> mean loss.
        weights: the model's, cast once a step; None: autocast casts each where it is used.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def step(*batch: Any) -> tuple[Tensor, Tensor]:
        with accelerator.autocast(), weights.in_place() if weights else nullcontext():
            found = loss(*batch)
        accelerator.backward(found)
        if weights:
            weights.hand_over_gradients()
        norm = accelerator.clip_grad_norm_(trained, clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return found.detach(), norm

    return step


def recorded_step(
    model: nn.Module,
    loss: Callable[..., Tensor],
    optimizer: torch.optim.Optimizer,
    accelerator: Accelerator,
    clip_norm: float,
) -> Step:
    """`training_step` on a GPU, as graphs. Rates become tensors, which a graph reads anew; AdamW must be capturable."""
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(float(group["lr"]), device=accelerator.device)
    weights = CastWeights(model, torch.bfloat16) if accelerator.mixed_precision == "bf16" else None
    return Recorded(training_step(model, loss, optimizer, accelerator, clip_norm, weights))


def set_rate(group: dict[str, Any], rate: float) -> None:
    """The learning rate of an optimiser's group, a number, or a tensor that stays where it is."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate
