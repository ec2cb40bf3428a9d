"""Builds a network whose weights will be loaded, without random initial weights."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class no_weights(TorchFunctionMode):
    """Modules made inside the block have uninitialised weights, to be replaced by `load_state_dict`.

    This is faster than 138 million random numbers for a VGG16, and memory that is never written is not used.
    (The meta device does the same, but its first arithmetic imports torch's compiler, which takes 3 s.)
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (Tensor.normal_, Tensor.uniform_):
            return args[0]
        if function is torch.randn:
            return torch.empty(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))
