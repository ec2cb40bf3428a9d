"""Building a network whose weights are about to be loaded, without drawing random ones first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class _NoDraws(TorchFunctionMode):
    """Leaves random draws out. On the meta device the first one would import torch's compiler, which takes 3 s."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (Tensor.normal_, Tensor.uniform_):
            return args[0]
        if function is torch.randn:
            return torch.empty(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


@contextmanager
def no_weights() -> Iterator[None]:
    """Modules made inside have shapes but no values: give them some with `load_state_dict(..., assign=True)`."""
    with torch.device("meta"), _NoDraws():
        yield
