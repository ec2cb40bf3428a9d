"""Training by several processes, each on its own GPU or on a share of the cores, as if they were one.

All processes read the same data, draw the same global batches in the same order, and hold the same weights.
Of each batch, process r of N computes rows r, r + N, r + 2N, ... (`share`), and its part of the global mean
loss (`part`): its own mean, times its share of the items that the mean is over, such as tokens. So the parts
add up to the loss, and the sum of all gradients (`sum_gradients`) is the gradient. All processes then make
the same step. Only the first one evaluates, writes and draws curves (`on_first`).

The sum is one all-reduce of all gradients in a row. torch's DistributedDataParallel does not fit: it wraps a
network's `forward`, but ours learn through other methods (`loss`, `encode_image`, `encode_text`); it
averages, but our parts add up; and it must be told which weights are unused or used again in a checkpoint.
The sum needs none of this: it starts when autograd is done, and tied, frozen and unused weights are no
special cases. It costs memory for a second gradient, and does not overlap with the backward pass.

With one process, every function here returns what it is given, and nothing else happens. CUDA graphs are for
one process only: the sums of several make the host wait. `captioning.training.processes` starts the
processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from captioning.core.device import mixed_seed, seed_everything
from captioning.core.errors import UserError

T = TypeVar("T")
Rows = TypeVar("Rows", np.ndarray, Tensor)


def count() -> int:
    """The number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


# ---- batches -----------------------------------------------------------------------------------------------


def share(batch: Rows) -> Rows:
    """Returns this process's rows of a global batch; all rows if there are fewer rows than processes."""
    return batch[_own(len(batch))]


def _own(rows: int) -> slice:
    return slice(rank(), None, count()) if rows >= count() else slice(None)


def whole(rows: Tensor, size: int) -> Tensor:
    """The global batch (size, ...) from each process's share of it, with gradients.

    In the backward pass each process's share gets the sum of all processes' gradients for it.
    """
    if count() == 1 or size < count():
        return rows
    empty = torch.zeros(size, *rows.shape[1:], device=rows.device)
    places = torch.arange(size, device=rows.device)[_own(size)]
    return _Sum.apply(empty.index_copy(0, places, rows.float()))


def seed_draws(seed: int, epoch: int) -> None:
    """Seeds all random numbers of an epoch. Dropout then differs between processes."""
    seed_everything(seed, epoch, *[rank()] * (rank() > 0))


def equal_draws(seed: int, epoch: int) -> torch.Generator:
    """A generator that draws the same numbers in every process, for everything but dropout.

    A single process uses torch's own generator, which dropout uses, too.
    """
    if count() == 1:
        return torch.default_generator
    return torch.Generator().manual_seed(mixed_seed(seed, epoch))


# ---- sums --------------------------------------------------------------------------------------------------


def part(mean: Tensor, over: Tensor | int) -> Tensor:
    """This process's part of a mean over the global batch. The parts of all processes add up to the mean.

    Args:
        mean: () over this process's share.
        over: the number of items in this mean, such as tokens.
    """
    if count() == 1:
        return mean
    over = torch.as_tensor(over, device=mean.device)
    return mean * over / added(over).clamp(min=1)


def added(value: Tensor) -> Tensor:
    """The sum of all processes' values; without gradients."""
    if count() == 1:
        return value
    value = value.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(value)
    return value


class _Sum(torch.autograd.Function):
    """The sum over all processes. Each one's loss depends on it, so gradients are added, too."""

    @staticmethod
    def forward(ctx, value: Tensor) -> Tensor:
        return added(value)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return added(gradient)


@torch.no_grad()
def sum_gradients(weights: Sequence[nn.Parameter]) -> None:
    """Replaces each weight's gradient by the sum over all processes.

    A weight that no process used keeps None as its gradient, so the optimiser skips it. The processes
    exchange by gloo, even beside NCCL, which weights were used: gloo notices at once that a process has
    ended.
    """
    if count() == 1:
        return
    used = added(torch.tensor([weight.grad is not None for weight in weights], dtype=torch.int32)).tolist()
    weights = [weight for weight, users in zip(weights, used, strict=True) if users]
    gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    parts = flat.split([gradient.numel() for gradient in gradients])
    for weight, gradient, summed in zip(weights, gradients, parts, strict=True):
        weight.grad = gradient.copy_(summed.view(gradient.shape))


def share_batch_norm(model: nn.Module) -> None:
    """Makes batch normalisation, in training, take its statistics from the global batch.

    torch's SyncBatchNorm needs GPUs.
    """
    if count() > 1:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.forward = partial(_batch_norm, module, module.forward)


def _batch_norm(module: nn.BatchNorm2d, alone: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """This process's (B, C, H, W), normalised by each channel's mean and variance in the global batch."""
    if not module.training:
        return alone(x)
    with torch.autocast(x.device.type, enabled=False):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        size = added(torch.tensor(x.numel() // x.shape[1], device=x.device))
        mean = _Sum.apply(wide.sum((0, 2, 3))) / size  # (C,)
        centred = wide - mean[:, None, None]
        variance = _Sum.apply(centred.square().sum((0, 2, 3))) / size  # (C,)
        with torch.no_grad():
            module.num_batches_tracked += 1
            module.running_mean.lerp_(mean, module.momentum)
            module.running_var.lerp_(variance * size / (size - 1), module.momentum)
        scale = module.weight * (variance + module.eps).rsqrt()
        return (centred * scale[:, None, None] + module.bias[:, None, None]).to(x.dtype)


# ---- the first process -------------------------------------------------------------------------------------


def on_first(work: Callable[[], T]) -> T:
    """Calls `work` in the first process while the others wait; all return its result, a few numbers."""
    if count() == 1:
        return work()
    found = [work() if rank() == 0 else None]
    dist.broadcast_object_list(found, src=0, device=torch.device("cpu"))
    return found[0]


def share_start(model: nn.Module) -> None:
    """Gives all processes the first one's weights; on a GPU, NCCL takes contiguous ones only."""
    if count() > 1:
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, src=0)


def check_equal(value: Any, fault: str) -> None:
    """Waits for the first process. Raises UserError if it has another value."""
    if on_first(lambda: value) != value:
        raise UserError(f"process {rank()} of {count()} {fault}")
