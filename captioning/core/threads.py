"""Threads that work ahead and return results in order, and processes that end with their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
PR_SET_PDEATHSIG = 1  # Linux's number for it
# Looked up here: nothing may be loaded between fork and exec.
PRCTL = getattr(ctypes.CDLL(None), "prctl", None)
SILENCE = 60  # seconds of waiting for an item before a line on stderr names it; repeated after the same time


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
    ahead: int,
    start: Callable[[], None] | None = None,
    name: Callable[[Item], str] = str,
) -> Iterator[Result]:
    """Yields `work(item)` for every item, in order. Errors of `work` are raised in their item's place.

    Args:
        threads: number of threads. 0: each item is processed on request, in the caller's thread.
        ahead: most items taken beyond the caller's current one, which limits memory.
        start: called once in every thread before its first item.
        name: gives an item's name for the waiting message; a file system may never answer.

    If the caller stops or fails, items that have not started are dropped, and running ones are awaited
    without a limit.
    """
    if threads == 0:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads, initializer=start) as pool:
        waiting: deque[tuple[Item, Future[Result]]] = deque()

        def first() -> Result:
            item, future = waiting.popleft()
            while wait([future], SILENCE).not_done:
                what = f"{name(item)} has given no answer for {SILENCE} s: still waiting"
                print(what, file=sys.stderr, flush=True)
            return future.result()

        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > ahead:
                    yield first()
            while waiting:
                yield first()
        finally:
            for _, future in waiting:
                future.cancel()


def end_with(parent: int) -> None:
    """Makes Linux kill this process when its parent ends for any reason; `parent` is the parent's number.

    It is a pool's `initializer`: workers of a killed stage would otherwise write for ever. Linux treats the
    end of the thread that started this process as the parent's end.
    """
    if PRCTL:
        PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before this call
        os._exit(1)


def ending_with_this() -> Callable[[], None]:
    """Returns a `preexec_fn` for programs that this process starts: `kill -9` of this process ends both."""
    return partial(end_with, os.getpid())
