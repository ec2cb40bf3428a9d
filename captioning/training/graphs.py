"""Training steps that cost the host next to nothing: weights cast once a step, and CUDA graphs, one a size of batches.

Launching a step's operations one by one takes the host longer than computing them takes a GPU. A graph is such a
launch recorded: replayed, it computes the same on new inputs, which are copied to where the recorded ones were.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

UNCAST = (nn.LayerNorm, nn.Embedding)  # autocast leaves their weights in float32


class CastWeights:
    """Copies of a network's weights in autocast's type, all made by one operation a step.

    Autocast itself casts weight by weight, and their gradients, too. What training changes stays the weights in
    float32: they get the copies' gradients. Copies of frozen weights are made once and for all.

    Args:
        model: on its device, with the weights that training begins with.
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
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()  # cuDNN wants one block of memory, or makes it anew at each call
        self._put({weight: weight for weight in self.copies})

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network computes with copies of its present weights meanwhile."""
        with torch.no_grad():
            torch._foreach_copy_([self.copies[weight] for weight in self.trained], self.trained)
        self._put(self.copies)
        try:
            yield
        finally:
            self._put({weight: weight for weight in self.copies})

    @torch.no_grad()
    def hand_over_gradients(self) -> None:
        """From the copies to the weights; a weight that was used uncast as well, a tied embedding, has both."""
        used = [weight for weight in self.trained if self.copies[weight].grad is not None]
        gradients = [self.gradients[weight] for weight in used]
        torch._foreach_copy_(gradients, [self.copies[weight].grad for weight in used])
        for weight, gradient in zip(used, gradients, strict=True):
            weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)
            self.copies[weight].grad = None

    def _put(self, by_weight: dict[nn.Parameter, nn.Parameter]) -> None:
        for module, name, weight in self.places:
            setattr(module, name, by_weight[weight])  # an LSTM's list of its weights follows


class Recorded:
    """A function of batches on a GPU, recorded for each shape of them that comes again, and replayed from then on.

    Args:
        work: batch, tensors in any nesting -> tensors. It must launch the same operations for equal shapes, and must
            never make the host wait. It may change weights in place, but not where they are.
    """

    def __init__(self, work: Callable[..., tuple[Tensor, ...]]) -> None:
        self.work, self.stream = work, torch.cuda.Stream()
        self.pool = torch.cuda.graph_pool_handle()  # graphs share memory: what one gives back is copied at once
        self.met: set[Any] = set()
        self.graphs: dict[Any, tuple[torch.cuda.CUDAGraph, list[Tensor], tuple[Tensor, ...]]] = {}
        self.able = True

    def __call__(self, *batch: Any) -> tuple[Tensor, ...]:
        given, structure = tree_flatten(batch)
        shapes = str(structure), *(tuple(x.shape) for x in given)
        if shapes not in self.met or not self.able:  # a first time at least is not recorded: libraries begin to work
            self.met.add(shapes)
            return self._as_it_is(batch)
        if shapes not in self.graphs:
            try:
                self.graphs[shapes] = self._record(batch)
            except RuntimeError as error:
                self.able = False
                print(f"warning: steps are not recorded as CUDA graphs, which is slower: {error}", file=sys.stderr)
                return self._as_it_is(batch)
        graph, inputs, results = self.graphs[shapes]
        torch._foreach_copy_(inputs, given)
        graph.replay()
        return tuple(result.clone() for result in results)

    def _as_it_is(self, batch: tuple) -> tuple[Tensor, ...]:
        """On the stream of the recordings: autograd remembers which stream a weight's gradient comes on."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            results = self.work(*batch)
        torch.cuda.current_stream().wait_stream(self.stream)
        return results

    def _record(self, batch: tuple) -> tuple[torch.cuda.CUDAGraph, list[Tensor], tuple[Tensor, ...]]:
        inputs, graph = tree_map(torch.clone, batch), torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            results = self.work(*inputs)
        return graph, tree_flatten(inputs)[0], results
