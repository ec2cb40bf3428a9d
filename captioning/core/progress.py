"""Progress: a bar on a terminal, otherwise a plain line every few seconds (logs, CI)."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
QUIET_SECONDS = 10  # between two plain lines


def track(items: Iterable[T], desc: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
    """Yields `items` and shows the number done, the rate and the time left."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)
    if sys.stderr.isatty():
        yield from tqdm(items, desc=desc, total=total, unit=unit, leave=False, dynamic_ncols=True)
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= QUIET_SECONDS:
            last, rate = now, done / (now - start)
            pace = f"{rate:.1f} {unit}/s" if rate >= 1 else f"{1 / rate:.1f} s/{unit}"
            left = f"/{total}, {(total - done) / rate:.0f} s left" if total else ""
            print(f"{desc}: {done}{left} ({pace})", file=sys.stderr, flush=True)


def rounded(score: float) -> str:
    """A score for the eye: four digits, or four decimals below 1."""
    return f"{score:.4f}" if abs(score) < 1 else f"{score:.4g}"
