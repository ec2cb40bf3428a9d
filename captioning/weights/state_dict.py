"""Reading weights from files of other people without running anything that is in them."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors.torch import load_file
from torch import Tensor

from captioning.core.errors import UserError
from captioning.weights import torchscript


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name from .safetensors, a torch file of tensors alone, or a TorchScript archive such as OpenAI's.

    Half-precision numbers stay so. Raises UserError for a file that is absent, damaged or holds anything else.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"no weights at {path}: give a file, a name, or `scratch`")
    try:
        if path.suffix == ".safetensors":
            weights = load_file(path)
        elif torchscript.is_archive(path):
            weights = torchscript.read_tensors(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file brings about
        fault = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, UnpicklingError):  # torch's own advice is to run whatever code the file holds
            fault = "something in it is no tensor"
        raise UserError(f"{path} holds no weights that can be opened safely, or is damaged: {fault}") from None
    weights = weights.get("state_dict", weights) if isinstance(weights, dict) else weights
    if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise UserError(f"{path} is no state dict: expected tensors by name")
    return weights
