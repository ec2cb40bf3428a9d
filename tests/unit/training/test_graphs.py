"""What can be said of recordings without a GPU: what a replay fills, and what a failed one leaves."""

import gc
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import register_dataclass

from captioning.training import graphs
from captioning.training.graphs import CastWeights, Recorded


@dataclass
class State:
    hidden: Tensor


register_dataclass(State)


class Stream:
    device_index = 0


class Generator:
    def __init__(self, recording: bool) -> None:
        self.recording = recording

    def clone_state(self):
        return Generator(recording=False)

    def graphsafe_set_state(self, other) -> None:
        self.recording = other.recording


@pytest.fixture
def recorded(monkeypatch):
    """A recording whose graph is only the call itself."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "graph", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: Stream)
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


def test_no_graph_is_freed_by_pythons_collector_during_a_recording(recorded):
    """A graph in a cycle of objects would otherwise be freed at any time, which breaks the recording."""
    collecting = []
    recorded.work = lambda: collecting.append(gc.isenabled())
    recorded._record(())
    assert collecting == [False] and gc.isenabled()


def test_after_a_failed_recording_steps_go_on_as_they_are(recorded, monkeypatch, capsys):
    """torch stays on the recording's stream, and draws its random numbers, unless it is told otherwise."""

    @contextmanager
    def fails(*_, **__):
        try:
            yield
        finally:
            raise RuntimeError("capture was invalidated")

    def waits(x: Tensor) -> Tensor:
        raise RuntimeError("an operation that no recording allows")

    streams, generator = [], Generator(recording=True)
    monkeypatch.setattr(torch.cuda, "graph", fails)
    monkeypatch.setattr(torch.cuda, "set_stream", streams.append)
    monkeypatch.setattr(torch.cuda, "default_generators", (generator,))
    monkeypatch.setattr(graphs, "FAILED", failed := [])
    monkeypatch.setattr(recorded, "_as_it_is", lambda batch: batch[0] + 1, raising=False)
    recorded.work, recorded.met, recorded.graphs, recorded.able = waits, set(), {}, True
    for _ in range(3):
        assert recorded(torch.ones(2)).tolist() == [2, 2]
    assert streams == [Stream] and not recorded.able and not generator.recording
    assert [cause for _, cause in failed] == ["RuntimeError: an operation that no recording allows"]
    assert "an operation that no recording allows" in capsys.readouterr().err


@pytest.mark.parametrize(("version", "able"), [(91300, True), (91002, False)])
def test_cudnn_gets_the_cast_weights_of_an_lstm_in_one_block(version, able, monkeypatch):
    """`flatten_parameters` would do nothing: it takes every cuDNN for unable to compute in bfloat16."""
    blocks = []
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: version)

    def flattened(weights: list[Tensor], *sizes) -> None:
        blocks.append(([weight.dtype for weight in weights], *sizes))

    monkeypatch.setattr(torch, "_cudnn_rnn_flatten_weight", flattened)
    with FakeTensorMode(), torch.device("cuda"):
        lstm = nn.LSTM(6, 4, num_layers=2, batch_first=True, bidirectional=True)
        blocks.clear()
        CastWeights(lstm, torch.bfloat16)
    # Four weights to a layer in one direction; 2 is cuDNN's number for an LSTM.
    assert blocks == [([torch.bfloat16] * 16, 4, 6, 2, 4, 0, 2, True, True)] * able


def test_an_lstm_s_weights_stay_where_they_are(monkeypatch):
    """A graph goes on to read and write them there, whatever runs between two replays."""
    lstm, moved = nn.LSTM(6, 4, batch_first=True), []
    weights = CastWeights(lstm, torch.bfloat16)
    monkeypatch.setattr(nn.LSTM, "flatten_parameters", lambda self: moved.append(self))
    for dtype in (torch.float32, torch.bfloat16, torch.float32, torch.bfloat16):
        with torch.no_grad(), nullcontext() if dtype == torch.float32 else weights.in_place():
            assert lstm(torch.zeros(2, 3, 6, dtype=dtype))[0].dtype == dtype
    assert moved == []
