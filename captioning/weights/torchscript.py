"""Reads the weights of a TorchScript archive, such as OpenAI's CLIP files, without running anything in it.

`torch.jit.load` compiles the archive's code and may run parts of it. The archive is a zip file. Its
`data.pkl` pickles a tree of modules with named attributes; the numbers are in separate records. The unpickler
here builds only tensors and plain containers: a class of the archive becomes an empty box, and any other name
in the pickle is refused.
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

# The names of storages in `torch.save` and TorchScript files, and their dtypes.
STORAGES = {
    "FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}  # fmt: skip
# Errors that a damaged or hostile pickle causes.
FAULTS = (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, IndexError, TypeError, AttributeError)
# TorchScript's typed lists: [list] -> list.
LISTS = ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist")


class _Module:
    """A module of the archive: its attributes by name, without its class."""

    attributes: Mapping[str, Any] = MappingProxyType({})  # until its state is set

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.attributes = state if isinstance(state, dict) else {}


def is_archive(path: str | Path) -> bool:
    """Whether a file is a TorchScript archive and not a file of `torch.save`."""
    try:
        return torch._C.PyTorchFileReader(str(path)).has_record("constants.pkl")
    except RuntimeError:
        return False


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors of the archive's modules by dotted name, as in the module's `state_dict`.

    This includes tensors that are neither parameters nor buffers, such as a stored mask.

    Raises:
        ValueError: not such an archive, damaged, or a pickle that holds more than modules and tensors.
    """
    try:
        reader = torch._C.PyTorchFileReader(str(path))
        root = _Unpickler(reader).load()
    except FAULTS as error:
        fault = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"not a TorchScript archive of modules and tensors: {fault}") from None
    if not isinstance(root, _Module):
        raise ValueError(f"the archive holds a {type(root).__name__}, not a module")
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
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a file of weights")

    def persistent_load(self, reference: tuple) -> Tensor:
        """All numbers of a storage as one row, from ("storage", dtype, record, device, count)."""
        _, dtype, record, _, count = reference
        if record not in self.storages:
            content = bytearray(self.reader.get_record(f"data/{record}"))
            numbers = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
            if len(numbers) != count:  # torch's own reader trusts the count and reads beyond the record
                raise pickle.UnpicklingError(f"record {record} has {len(numbers)} numbers, not {count}")
            self.storages[record] = numbers
        return self.storages[record]


def _tensor(numbers: Tensor, offset: int, shape: tuple, stride: tuple, *_: Any) -> Tensor:
    """A tensor of a storage. `as_strided` refuses sizes that exceed it."""
    return numbers.as_strided(tuple(shape), tuple(stride), offset)


def _untagged(value: Any, _: str) -> Any:
    return value
