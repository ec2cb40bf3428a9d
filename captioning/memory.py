"""Memory that is freed stays with the process, for its next step, until it is told otherwise."""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8  # mallopt's names for them, in glibc's malloc.h


def keep_freed_memory() -> bool:
    """Tells the C library to give no memory back to the system while the process lives; False where it cannot.

    By default glibc returns every block of 32 MB or more at once. A training step of GPT-2 then gets 300,000 fresh
    pages from the system each time, zeroed one by one: a quarter of a step in bf16 on a processor. Peak memory may grow
    by a tenth. To be called before memory is used; processes forked from this one inherit it.

    All threads get theirs from one place: a thread's own holds no more than 64 MB, and what is larger would come fresh.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return False
    return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, 2**31 - 1) and mallopt(ARENA_MAX, 1))


def return_freed_memory() -> bool:
    """Gives back, once, what is free now; False where that cannot be told.

    After the first step of a training: the optimiser's moments came to lie among what the step had freed, and the
    second step, not finding room for its larger blocks there, would take as much again.
    """
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError, TypeError):  # not glibc
        return False
