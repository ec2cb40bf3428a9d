"""The weights in a TorchScript archive, such as OpenAI's CLIP files, read without running anything that is in it.

`torch.jit.load` compiles the archive's code and may run parts of it. But the archive is a zip file whose `data.pkl`
pickles a tree of modules, each an attribute's name and its value, with the numbers in records of their own. The
unpickler here makes tensors and plain containers of it and nothing else: a class of the archive becomes an empty box,
any other name in the pickle is refused.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

# What `torch.save` and TorchScript call storages, and the numbers in them.
STORAGES = {
    "FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
# Lists that TorchScript marks with their type: [list] -> list.
LISTS = ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist")


class _Module:
    """A module of the archive: its attributes by name, its class's name forgotten."""

    attributes: Mapping[str, Any] = MappingProxyType({})  # until its state is set

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.attributes = state if isinstance(state, dict) else {}


def is_archive(path: str | Path) -> bool:
    """Whether a file is a TorchScript archive, rather than what `torch.save` writes."""
    try:
        return torch._C.PyTorchFileReader(str(path)).has_record("constants.pkl")
    except RuntimeError:
        return False


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors of the archive's modules by their dotted names, as the module's `state_dict` names them.

    Tensors that are neither parameters nor buffers, such as a stored mask, are among them.

    Raises:
        ValueError: no such archive, damaged, or a pickle with something else than modules and tensors in it.
    """
    try:
        reader = torch._C.PyTorchFileReader(str(path))
        root = _Unpickler(reader).load()
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, IndexError, TypeError, AttributeError) as error:
        fault = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"not a TorchScript archive of modules and tensors: {fault}") from None
    if not isinstance(root, _Module):
        raise ValueError(f"the archive holds a {type(root).__name__}, no module")
    found: dict[str, Tensor] = {}
    _collect(root, "", found)
    return found


def _collect(module: _Module, prefix: str, found: dict[str, Tensor]) -> None:
    for name, value in module.attributes.items():
        if isinstance(value, _Module):
            _collect(value, f"{prefix}{name}.", found)
        elif isinstance(value, Tensor):
            found[prefix + name] = value


class _Unpickler(pickle.Unpickler):
    def __init__(self, reader) -> None:
        super().__init__(io.BytesIO(reader.get_record("data.pkl")))
        self.reader, self.storages = reader, {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Module
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module in ("torch", "torch.storage") and name in STORAGES:
            return STORAGES[name]
        if module == "torch.jit._pickle" and name in LISTS:
            return list
        if module == "torch.jit._pickle" and name == "restore_type_tag":
            return _untagged
        raise pickle.UnpicklingError(f"{module}.{name} is nothing that weights are made of")

    def persistent_load(self, reference: tuple) -> Tensor:
        """All numbers of a storage, one row of them: ("storage", dtype, record, device, count)."""
        _, dtype, record, _, count = reference
        if record not in self.storages:
            content = bytearray(self.reader.get_record(f"data/{record}"))
            numbers = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
            if len(numbers) != count:  # torch's own reader believes the count, and reads beyond the record
                raise pickle.UnpicklingError(f"record {record} has {len(numbers)} numbers, not {count}")
            self.storages[record] = numbers
        return self.storages[record]


def _tensor(numbers: Tensor, offset: int, shape: tuple, stride: tuple, *_: Any) -> Tensor:
    """`as_strided` refuses sizes that lead out of the storage."""
    return numbers.as_strided(tuple(shape), tuple(stride), offset)


def _untagged(value: Any, _: str) -> Any:
    return value
