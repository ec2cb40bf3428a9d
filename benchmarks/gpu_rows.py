"""What the rows of `benchmarks.gpu` are made of: the size of the measurement, a row, time and memory.

A row is a function of a `Scale` that returns the cells of its table lines and the figures behind them
(`benchmarks.gpu_steps`, `benchmarks.gpu_inference`, `benchmarks.gpu_checks`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

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


def seconds_of(work: Callable[[], Any], times: int) -> float:
    """Mean seconds of `times` calls, after three warm-up calls. One call without a GPU."""
    for _ in range(3 if torch.cuda.is_available() else 1):
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
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return peak
