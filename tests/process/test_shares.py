"""Two processes' shares, sums and batch normalisation against the whole batch in one process, in float64."""

import copy
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn

from captioning.training import distributed

ROWS = 5  # of shares of 3 and 2


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def network() -> nn.Module:
    layers = (
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 6 * 6, 2),
    )  # fmt: skip
    torch.manual_seed(0)
    return nn.Sequential(*layers).double()


def batch_norm_takes_the_statistics_of_the_whole_batch() -> None:
    x, y, alone = torch.randn(ROWS, 3, 8, 8).double(), torch.randn(ROWS, 2).double(), network()
    together = copy.deepcopy(alone)
    distributed.share_batch_norm(together)
    expected = F.mse_loss(alone(x), y)
    expected.backward()
    found = distributed.part(
        F.mse_loss(together(distributed.share(x)), distributed.share(y)), len(distributed.share(y))
    )
    found.backward()
    distributed.sum_gradients(list(together.parameters()))
    close(distributed.added(found), expected.detach())
    for one, other in zip(together.parameters(), alone.parameters(), strict=True):
        close(one.grad, other.grad)
    for one, other in zip(together.buffers(), alone.buffers(), strict=True):
        close(one, other)
    close(together.eval()(x), alone.eval()(x))


def embeddings_are_gathered_with_gradients() -> None:
    x = torch.randn(ROWS, 4)
    own = distributed.share(x).clone().requires_grad_()
    every = distributed.whole(own, ROWS)
    assert torch.equal(every, x)
    # In each process: the sum over processes is twice the gradient.
    (every @ every.T).square().sum().backward()
    x.requires_grad_()
    (x @ x.T).square().sum().backward()
    torch.testing.assert_close(own.grad, 2 * distributed.share(x.grad))
    few = torch.randn(1, 4)
    assert torch.equal(distributed.whole(distributed.share(few), 1), few)


def weights_used_by_some_or_none_get_their_sums() -> None:
    weights = [nn.Parameter(torch.ones(2, 3)) for _ in range(3)]
    (weights[distributed.rank()] * 5).sum().backward()  # the third is used by no process
    weights[0].grad = None if weights[0].grad is None else weights[0].grad.T.contiguous().T  # another layout
    distributed.sum_gradients(weights)
    assert torch.equal(weights[0].grad, torch.full((2, 3), 5.0)) and torch.equal(
        weights[1].grad, weights[0].grad
    )
    assert weights[2].grad is None


def shares_are_a_partition_and_small_batches_are_whole() -> None:
    held = torch.zeros(ROWS, dtype=torch.int64)
    held[distributed.share(np.arange(ROWS))] += 1
    assert distributed.added(held).tolist() == [1] * ROWS
    assert distributed.share(np.arange(1)).tolist() == [0]
    assert distributed.part(torch.tensor(3.0), 7).item() == 1.5


def draws_differ_only_where_they_should() -> None:
    generator = distributed.equal_draws(3, 1)
    first = torch.randint(0, 1000, (8, 2), generator=generator)
    assert torch.equal(distributed.added(first), 2 * first)
    distributed.seed_draws(3, 1)
    noise = torch.rand(8)
    assert not torch.equal(distributed.added(noise), 2 * noise)
    if distributed.rank() == 0:  # as one process draws
        assert torch.initial_seed() == generator.initial_seed()


def a_difference_is_an_error() -> None:
    distributed.check_equal("same", "differs")
    try:
        distributed.check_equal(distributed.rank(), "differs")
    except Exception as error:
        assert distributed.rank() == 1 and str(error) == "process 1 of 2 differs"
    else:
        assert distributed.rank() == 0


CHECKS = [batch_norm_takes_the_statistics_of_the_whole_batch, embeddings_are_gathered_with_gradients,
          weights_used_by_some_or_none_get_their_sums, shares_are_a_partition_and_small_batches_are_whole,
          draws_differ_only_where_they_should, a_difference_is_an_error]  # fmt: skip


def in_process(rank: int, store: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    for check in CHECKS:
        torch.manual_seed(7)
        check()
    dist.barrier()  # a process that ends while the other still talks to it may be aborted
    dist.destroy_process_group()


def test_two_processes_compute_what_one_does(tmp_path: Path):
    mp.spawn(in_process, args=(str(tmp_path / "store"),), nprocs=2)


def test_one_process_gets_back_what_it_gives():
    rows, mean = np.arange(4), torch.tensor(2.0)
    assert distributed.share(rows).tolist() == rows.tolist()
    assert (
        distributed.part(mean, 3) is mean
        and distributed.added(mean) is mean
        and distributed.whole(mean, 1) is mean
    )
    assert distributed.equal_draws(0, 0) is torch.default_generator and distributed.on_first(lambda: 5) == 5
