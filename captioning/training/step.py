"""One training step on a batch, launched by the host, or recorded once and replayed by a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from captioning.core.device import attention_kernels, autocast
from captioning.training import distributed
from captioning.training.graphs import CastWeights, Recorded

Step = Callable[..., tuple[Tensor, Tensor]]  # batch -> its loss and gradient norm, both still on the device


def training_step(
    model: nn.Module,
    loss: Callable[..., Tensor],
    optimizer: torch.optim.Optimizer,
    dtype: torch.dtype,
    clip_norm: float,
    prepare: Callable[..., tuple] | None = None,
    cast: bool = False,
    record: Callable[[Step], Step] = lambda step: step,
) -> Step:
    """Returns a step: loss, gradient, clipping, optimiser update. Loss and gradient are sums over processes.

    Args:
        loss: batch -> mean loss, or this process's part of it.
        dtype: autocast's.
        prepare: batch -> the batch that `loss` takes; it uses the model without gradients. None: the same.
        cast: cast the model's weights once a step. Else autocast casts each weight when it is used, and on a
            GPU computes an LSTM in float16, whatever `dtype` is.
        record: makes a recording of everything but `prepare`.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    device = trained[0].device
    weights = CastWeights(model, dtype) if cast and dtype != torch.float32 else None

    @contextmanager
    def computing() -> Iterator[None]:
        with autocast(device, dtype), weights.in_place() if weights else nullcontext():
            yield

    @record
    def learn(*batch: Any) -> tuple[Tensor, Tensor]:
        optimizer.zero_grad(set_to_none=True)  # a recording that failed may have left some
        with computing():
            found = loss(*batch)
        found.backward()
        if weights:
            weights.hand_over_gradients()
        distributed.sum_gradients(trained)
        norm = nn.utils.clip_grad_norm_(trained, clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return distributed.added(found.detach()), norm

    def step(*batch: Any) -> tuple[Tensor, Tensor]:
        if prepare:
            with torch.no_grad(), computing():
                batch = prepare(*batch)
        with attention_kernels(device, dtype):  # for the backward pass, too: checkpoints compute again there
            return learn(*batch)

    return step


def recorded_step(
    model: nn.Module,
    loss: Callable[..., Tensor],
    optimizer: torch.optim.Optimizer,
    dtype: torch.dtype,
    clip_norm: float,
    prepare: Callable[..., tuple] | None = None,
) -> Step:
    """`training_step` on a GPU, as CUDA graphs, with weights that are cast once a step.

    Learning rates become tensors, which a graph reads at each replay. `optimizer` is a fused AdamW.
    """
    for group in optimizer.param_groups:
        group["capturable"] = True  # also if its state was saved on a processor
        group["lr"] = torch.tensor(float(group["lr"]), device=next(model.parameters()).device)
    return training_step(model, loss, optimizer, dtype, clip_norm, prepare, cast=True, record=Recorded)


def set_rate(group: dict[str, Any], rate: float) -> None:
    """Sets the learning rate of an optimiser's group: a number, or a tensor that is changed in place."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate
