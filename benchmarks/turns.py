"""Times several ways to do the same thing in turn, each in its own process; one works while the others wait.

A side is a function `setup(sizes) -> run`; `run(round) -> dict` does the work once and returns what is
compared. Each side has its own process, so that its peak memory is the operating system's figure and no side
profits from another's warm caches. Rounds go a b c, b c a, c a b, so that a machine that slows down slows all
of them.
"""

import multiprocessing
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from captioning.core.errors import UserError
from captioning.core.work import NAMED

Run = Callable[[int], dict[str, Any]]
Setup = Callable[[dict[str, Any]], Run]


@dataclass
class Timed:
    """The time, memory and results of one side, round by round.

    Attributes:
        seconds: each round's; if only a part of a round counts, what `run` returned under this name.
        peak: most memory in use so far, bytes: the process's resident set, or a GPU's allocated memory.
        before: memory in use when the first round began, bytes.
        results: what `run` returned.
    """

    seconds: list[float] = field(default_factory=list)
    peak: int = 0
    before: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def in_turn(sides: dict[str, Setup], sizes: dict[str, Any], rounds: int) -> dict[str, Timed]:
    """Sets every side up, then runs them in turn. Raises what a side's process raises."""
    context = multiprocessing.get_context("spawn")
    pipes, processes, found = {}, {}, {name: Timed() for name in sides}
    try:
        for name, setup in sides.items():  # one after another: setting up is work too
            pipes[name], theirs = context.Pipe()
            processes[name] = context.Process(target=_work, args=(theirs, setup, sizes))
            processes[name].start()
            theirs.close()
            _answer(pipes[name], name)
        names = list(sides)
        for turn in range(rounds):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                pipes[name].send(turn)
                seconds, before, found[name].peak, result = _answer(pipes[name], name)
                found[name].before = found[name].before or before
                found[name].seconds.append(seconds)
                found[name].results.append(result)
    finally:
        for pipe in pipes.values():
            pipe.close()  # a waiting process ends at that
        for process in processes.values():
            process.join(20)
            if process.is_alive():
                process.terminate()
    return found


def _answer(pipe, name: str):
    try:
        kind, value = pipe.recv()
    except EOFError:
        raise RuntimeError(f"the process of {name!r} died: out of memory?") from None
    if kind == "user error":
        raise UserError(value)
    if kind == "error":
        raise RuntimeError(f"in the process of {name!r}:\n{value}")
    return value


def _work(pipe, setup: Setup, sizes: dict[str, Any]) -> None:
    """A side's process: sets up, then runs once for each number received, until the pipe closes."""
    try:
        run = setup(sizes)
        pipe.send(("ready", None))
        while True:
            turn = pipe.recv()
            before = _now()
            synchronize()
            start = time.perf_counter()
            result = run(turn)
            synchronize()
            seconds = result.pop("seconds", time.perf_counter() - start)
            pipe.send(("done", (seconds, before, _peak(), result)))
    except EOFError:
        return
    except UserError as error:
        pipe.send(("user error", str(error)))
    except Exception:
        pipe.send(("error", traceback.format_exc()))


@contextmanager
def working_in(folder: str | Path) -> Iterator[None]:
    """Makes `folder` the project's working folder inside the block, also for the processes started there."""
    before = os.environ.get(NAMED)
    os.environ[NAMED] = str(Path(folder).absolute())
    try:
        yield
    finally:
        del os.environ[NAMED]
        if before is not None:
            os.environ[NAMED] = before


def synchronize() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _peak() -> int:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resident("VmHWM") or _usage()


def _now() -> int:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    return resident()


def resident(name: str = "VmRSS") -> int:
    """The resident set, or its peak VmHWM, by /proc/self/status in bytes; 0 on systems without.

    (`ru_maxrss` counts the parent's memory at the fork too, so it comes second.)
    """
    try:
        with open("/proc/self/status") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith(name + ":")), 0)
    except OSError:
        return 0


def _usage() -> int:
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
