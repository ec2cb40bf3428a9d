"""What the rows of `benchmarks.gpu` are made of: the size of the measurement, a row, time and memory.

A row is a function of a `Scale` that returns the cells of its table lines and the figures behind them
(`benchmarks.gpu_steps`, `benchmarks.gpu_inference`, `benchmarks.gpu_checks`).
"""

from __future__ import annotations

import contextlib
import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import material
from benchmarks.turns import synchronize


@dataclass(frozen=True)
class Scale:
    """The size of the measurement: full-size networks on a GPU, or tiny ones on any device.

    Attributes:
        peak: FLOP/s of dense bf16 products from the data sheet; None if unknown.
        images: number of files for feature extraction.
    """

    tiny: bool
    device: torch.device
    dtype: torch.dtype
    peak: float | None
    images: int
    workers: int

    @property
    def steps(self) -> int:
        return 1 if self.tiny else 10


@dataclass
class Row:
    """A line of the table. `figures` are seconds, rates and bytes, by name."""

    path: str
    ours: str
    goal: str = ""
    published: str = ""
    figures: dict[str, Any] | None = None


def seconds_of(work: Callable[[], Any], times: int, before: int = 3) -> float:
    """Mean seconds of `times` calls, after `before` calls that do not count. One of these without a GPU.

    The first call of a step is launched by the host, the second recorded, and the third one replayed.
    """
    for _ in range(before if torch.cuda.is_available() else 1):
        work()
    synchronize()
    start = time.perf_counter()
    for _ in range(times):
        work()
    synchronize()
    return (time.perf_counter() - start) / times


def memory() -> int:
    """Peak GPU memory since the last call, in bytes."""
    if not torch.cuda.is_available():
        return 0
    peak = torch.cuda.max_memory_allocated()
    gc.collect()  # networks of an earlier row may be cycles of objects
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return peak


@contextlib.contextmanager
def files(scale: Scale, count: int) -> Iterator[dict[str, Any]]:
    """Photographs under different names.

    The bytes after the JPEG's end differ in each file, because extraction computes equal files once.
    """
    with tempfile.TemporaryDirectory() as folder:
        sources = [Path(path).read_bytes() for path in material.photographs(count, Path(folder))]
        paths = [Path(folder) / f"copy{i}.jpg" for i in range(count)]
        for i, path in enumerate(paths):
            path.write_bytes(sources[i % len(sources)] + i.to_bytes(4, "big"))
        yield {"tiny": scale.tiny, "images": count, "paths": list(map(str, paths)), "batch": 256,
               "workers": 1 if scale.tiny else scale.workers}  # fmt: skip
