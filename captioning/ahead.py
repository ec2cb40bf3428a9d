"""Work that threads do ahead of whoever asks for it, handed out in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
    ahead: int,
    start: Callable[[], None] | None = None,
) -> Iterator[Result]:
    """Yields `work(item)` of every item, in the items' order. What `work` raises is raised in its item's place.

    Args:
        threads: that work; 0 does each item when it is asked for, in the caller's thread.
        ahead: items taken beyond the one that the caller gets, at most: a bound on memory.
        start: run once in every thread before its first item.

    When the caller stops or fails, items not begun are dropped; those under way are waited for, however long.
    """
    if threads == 0:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads, initializer=start) as pool:
        waiting = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()
