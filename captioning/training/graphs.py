"""Training steps with little work for the host: weights are cast once a step, and steps become CUDA graphs.

The host takes longer to launch a step's operations one by one than a GPU takes to compute them. A CUDA graph
is a recorded launch. A replay does the same operations on new inputs, which are copied over the recorded
ones. There is one graph per batch size.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.backends.cudnn.rnn import get_cudnn_mode
from torch.utils._pytree import tree_flatten, tree_map

UNCAST = (nn.LayerNorm, nn.Embedding)  # autocast leaves their weights in float32
CUDNN = 91300  # the first cuDNN by which torch computes an LSTM in bfloat16


class CastWeights:
    """Copies of a network's weights in autocast's type, all made by one operation per step.

    Autocast itself casts weights and their gradients one by one. Training still updates the float32 weights,
    which receive the gradients of the copies. Frozen weights are copied only once.

    Args:
        model: on its device, with the weights at the start of training.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        self.places = [
            (module, name, weight)
            for module in model.modules()
            if not isinstance(module, UNCAST)
            for name, weight in module.named_parameters(recurse=False)
        ]
        self.copies = {
            weight: nn.Parameter(weight.detach().to(dtype), requires_grad=weight.requires_grad)
            for *_, weight in self.places
        }
        self.trained = [weight for weight in self.copies if weight.requires_grad]
        self.gradients = {weight: torch.empty_like(weight) for weight in self.trained}
        self._put(self.copies)
        for module in model.modules():
            if isinstance(module, nn.LSTM):
                flatten(module)
                # Otherwise the LSTM moves weights that differ from those of its last call, but graphs hold
                # addresses.
                module._flat_weight_refs = [None] * len(module._flat_weights)
        self._put({weight: weight for weight in self.copies})

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Makes the network compute with copies of its current weights inside the block."""
        for copy in self.copies.values():
            copy.grad = None  # a recording that failed may have left some
        with torch.no_grad():
            torch._foreach_copy_([self.copies[weight] for weight in self.trained], self.trained)
        self._put(self.copies)
        try:
            yield
        finally:
            self._put({weight: weight for weight in self.copies})

    @torch.no_grad()
    def hand_over_gradients(self) -> None:
        """Moves gradients from the copies to the weights.

        A weight that is also used uncast, such as a tied embedding, gets the sum of both gradients.
        """
        used = [weight for weight in self.trained if self.copies[weight].grad is not None]
        gradients = [self.gradients[weight] for weight in used]
        torch._foreach_copy_(gradients, [self.copies[weight].grad for weight in used])
        for weight, gradient in zip(used, gradients, strict=True):
            weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)
            self.copies[weight].grad = None

    def _put(self, by_weight: dict[nn.Parameter, nn.Parameter]) -> None:
        for module, name, weight in self.places:
            setattr(module, name, by_weight[weight])  # this also updates an LSTM's list of its weights


@torch.no_grad()
def flatten(lstm: nn.LSTM) -> None:
    """Puts an LSTM's weights on a GPU into one block of memory, without which cuDNN copies them at each call.

    `flatten_parameters` leaves bfloat16 weights as they are, although cuDNN takes them. Before that, torch
    computes such an LSTM without cuDNN.
    """
    weights = lstm._flat_weights
    if weights[0].is_cuda and torch.backends.cudnn.version() >= CUDNN:
        torch._cudnn_rnn_flatten_weight(
            weights,
            len(weights) // (lstm.num_layers * (1 + lstm.bidirectional)),  # of a layer in one direction
            lstm.input_size,
            get_cudnn_mode("LSTM"),
            lstm.hidden_size,
            lstm.proj_size,
            lstm.num_layers,
            lstm.batch_first,
            lstm.bidirectional,
        )


# The recordings that failed, and why. They are kept, since torch's allocator goes on to ask them.
FAILED: list[tuple[torch.cuda.CUDAGraph, str]] = []


class Recorded:
    """A function of batches on a GPU, recorded once for each shape that occurs again, then replayed.

    Args:
        work: takes a batch and returns results, both tensors in any nesting. Numbers among them count as
            part of the shape. It must launch the same operations for equal shapes, and must never make the
            host wait. It may change weights and its batch in place, but must not move weights.
    """

    def __init__(self, work: Callable[..., Any]) -> None:
        self.work, self.stream = work, torch.cuda.Stream()
        self.pool = torch.cuda.graph_pool_handle()  # graphs share memory, so results are copied at once
        self.met: set[Any] = set()
        self.graphs: dict[Any, tuple[torch.cuda.CUDAGraph, list[Tensor], Any]] = {}
        self.able = True

    def __call__(self, *batch: Any) -> Any:
        leaves, structure = tree_flatten(batch)
        shapes = str(structure), *((x.shape, x.dtype) if isinstance(x, Tensor) else x for x in leaves)
        if shapes not in self.met or not self.able:  # libraries initialise in the first call
            self.met.add(shapes)
            return self._as_it_is(batch)
        if shapes not in self.graphs:
            try:
                self.graphs[shapes] = self._record(batch)
            except RuntimeError as error:
                self.able = False
                self.graphs.clear()  # the memory is needed again
                print(
                    f"warning: steps are not recorded as CUDA graphs, which is slower: {_cause(error)}",
                    file=sys.stderr,
                )
                return self._as_it_is(batch)
        graph, inputs, results = self.graphs[shapes]
        torch._foreach_copy_(inputs, _tensors(batch))
        graph.replay()
        return _copied(results)

    def _as_it_is(self, batch: tuple) -> Any:
        """Runs on the stream of the recordings: autograd remembers the stream of each weight's gradient."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            results = self._worked(batch)
        torch.cuda.current_stream().wait_stream(self.stream)
        return results

    def _record(self, batch: tuple) -> tuple[torch.cuda.CUDAGraph, list[Tensor], Any]:
        batch, graph = _copied(batch), torch.cuda.CUDAGraph()
        inputs = _tensors(batch)  # now: a state may replace its tensors by results
        outside = torch.cuda.current_stream()
        try:
            with _no_collection(), torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
                results = self._worked(batch)
        except RuntimeError as error:  # torch leaves its stream and its random numbers as in a recording
            FAILED.append((graph, _cause(error)))
            torch.cuda.set_stream(outside)
            numbers = torch.cuda.default_generators[outside.device_index]
            numbers.graphsafe_set_state(numbers.clone_state())
            raise
        return graph, inputs, results

    def _worked(self, batch: tuple) -> Any:
        """Runs without the weights that autocast has cast outside: a graph must cast them at each replay."""
        torch.clear_autocast_cache()
        results = self.work(*batch)
        torch.clear_autocast_cache()
        return results


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keeps Python from freeing cycles of objects: a CUDA graph that is freed breaks a recording."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _cause(error: BaseException) -> str:
    """The error itself, not the one at the recording's end that followed from it."""
    error = error.__context__ or error
    return f"{type(error).__name__}: {error}"


def _tensors(tree: Any) -> list[Tensor]:
    return [x for x in tree_flatten(tree)[0] if isinstance(x, Tensor)]


def _copied(tree: Any) -> Any:
    return tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, tree)
