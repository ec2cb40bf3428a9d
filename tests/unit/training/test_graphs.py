"""What can be said of recordings without a GPU: which tensors a replay fills."""

from contextlib import nullcontext
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import register_dataclass

from captioning.training.graphs import Recorded


@dataclass
class State:
    hidden: Tensor


register_dataclass(State)


@pytest.fixture
def recorded(monkeypatch):
    """A recording whose graph is only the call itself."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "graph", lambda *_, **__: nullcontext())
    made = object.__new__(Recorded)
    made.pool = made.stream = None
    return made


def test_a_replay_fills_what_the_function_was_given_and_not_what_it_put_in_its_place(recorded):
    given = []

    def work(state: State) -> State:
        given.append(state.hidden)
        state.hidden = state.hidden + 1
        return state

    recorded.work = work
    batch = (State(torch.zeros(3)),)
    _, inputs, results = recorded._record(batch)
    assert inputs == given and inputs[0] is not batch[0].hidden  # a copy, which the graph reads
    assert results.hidden is not inputs[0] and results.hidden.tolist() == [1, 1, 1]
