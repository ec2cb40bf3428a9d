"""Work that threads do ahead of whoever asks for it, handed out in order; processes that end with their parent."""

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
PR_SET_PDEATHSIG = 1  # of Linux
PRCTL = getattr(ctypes.CDLL(None), "prctl", None)  # looked up here: between fork and exec nothing may be loaded
SILENCE = 60  # seconds of waiting for one item after which a line on stderr names it, and again after as many


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
    ahead: int,
    start: Callable[[], None] | None = None,
    name: Callable[[Item], str] = str,
) -> Iterator[Result]:
    """Yields `work(item)` of every item, in the items' order. What `work` raises is raised in its item's place.

    Args:
        threads: that work; 0 does each item when it is asked for, in the caller's thread.
        ahead: items taken beyond the one that the caller gets, at most: a bound on memory.
        start: run once in every thread before its first item.
        name: of an item, for the line that says what is waited for: a file system may never answer.

    When the caller stops or fails, items not begun are dropped; those under way are waited for, however long.
    """
    if threads == 0:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads, initializer=start) as pool:
        waiting: deque[tuple[Item, Future[Result]]] = deque()

        def first() -> Result:
            item, future = waiting.popleft()
            while wait([future], SILENCE).not_done:
                print(f"nothing came in {SILENCE} s from {name(item)} on: still waiting", file=sys.stderr, flush=True)
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
    """Lets this process be killed when its parent, the process of this number, ends in whatever way (on Linux).

    For a pool's `initializer`: workers of a killed stage would write for ever. Linux takes the end of the thread that
    started this process for the parent's end.
    """
    if PRCTL:
        PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        os._exit(1)


def ending_with_this() -> Callable[[], None]:
    """The `preexec_fn` of a program that this process starts, so that `kill -9` of this one ends both."""
    return partial(end_with, os.getpid())
