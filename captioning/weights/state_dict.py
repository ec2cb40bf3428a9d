"""Reads weights from files made elsewhere, without running any code in them."""

from __future__ import annotations

import json
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from captioning.core.errors import UserError, in_a_line, opening
from captioning.weights import torchscript

# Keys under which training scripts save the weights.
WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
PREFIXES = ("module.", "model.", "clip_model.", "clip.", "_orig_mod.")  # wrappers add them to every name
FILES = ("model.safetensors", "model.safetensors.index.json", "open_clip_model.safetensors",
         "open_clip_pytorch_model.bin", "pytorch_model.bin", "pytorch_model.bin.index.json")  # fmt: skip
AGAIN = "fetch it again, or name another file"


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Reads tensors by name from .safetensors, a torch file of tensors, or a TorchScript archive.

    OpenAI's CLIP files are such archives. Half-precision numbers stay in half precision. Dicts and name
    prefixes that training scripts add are removed. Raises UserError for a file that is missing, damaged or
    contains anything else.
    """
    return without_prefixes(_unwrapped(Path(path).expanduser()))


def _unwrapped(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"no weights at {path}: give a file, a name, or `scratch`")
    try:
        if path.suffix == ".safetensors":
            weights = load_file(path)
        elif torchscript.is_archive(path):
            weights = torchscript.read_tensors(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # any error that a damaged or hostile file causes
        fault = in_a_line(error)
        if isinstance(error, UnpicklingError):  # torch's own advice is to run any code in the file
            fault = "it holds something other than tensors"
        raise UserError(
            f"{path} holds no weights that can be opened safely, or is damaged: {fault}"
        ) from None
    while isinstance(weights, dict):
        # Scripts save optimizers, too.
        inner = [weights[key] for key in WRAPPERS if isinstance(weights.get(key), dict)]
        if not inner:
            break
        weights = inner[0]
    if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise UserError(f"{path} is not a state dict: expected tensors by name, found {_described(weights)}")
    return {str(name): tensor for name, tensor in weights.items()}


def without_prefixes(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Removes prefixes that all names share, such as DataParallel's `module.`."""
    while weights and (found := [p for p in PREFIXES if all(name.startswith(p) for name in weights)]):
        weights = {name.removeprefix(found[0]): tensor for name, tensor in weights.items()}
    return weights


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads config and weights of a model's folder: ours, transformers' (whole or sharded) or open_clip's."""
    configs = [path for name in ("open_clip_config.json", "config.json") if (path := folder / name).is_file()]
    files = [path for name in FILES if (path := folder / name).is_file()][:1]
    if not configs or not files:
        missing = "config.json" if not configs else "model.safetensors"
        raise UserError(f"{folder} has no {missing}: give the folder of a model, or a file of weights")
    with opening(configs[0], "a model's config", AGAIN):
        config = json.loads(configs[0].read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("expected an object")
    shards = _shards(files[0]) if files[0].suffix == ".json" else files
    return config, without_prefixes(
        {name: tensor for path in shards for name, tensor in _unwrapped(path).items()}
    )


def _shards(index: Path) -> list[Path]:
    """Returns the files that an index names."""
    with opening(index, "an index of a model's weights", AGAIN):
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        if strange := [name for name in names if Path(name).name != name]:
            raise ValueError(f"{strange[0]!r} is not a file of its folder")
    return [index.parent / name for name in names]


def _described(found: Any) -> str:
    if not isinstance(found, dict):
        return f"a {type(found).__name__}"
    others = [str(name) for name, value in found.items() if not isinstance(value, Tensor)]
    return f"other things too, such as {', '.join(others[:3])}"
