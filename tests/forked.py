"""Programs in processes forked from one that has imported the slow libraries. New ones would take seconds."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["forked_imports"])


def _run(folder: Path, module: str, arguments: tuple[str, ...], outputs: dict[int, str]) -> None:
    for number, path in outputs.items():
        os.dup2(os.open(path, os.O_WRONLY), number)
    os.chdir(folder)
    sys.path.insert(0, str(ROOT))
    sys.argv = [module, *arguments]
    sys.modules.pop(module, None)  # runpy warns about a module that is imported already
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def python_m(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess:
    """Runs `python -m module arguments` in a folder, with what it prints as text."""
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        process = PROCESSES.Process(target=_run, args=(folder, module, arguments, {1: out.name, 2: err.name}))
        process.start()
        process.join(900)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"{module} did not end: {err.read()}")
        return subprocess.CompletedProcess([module, *arguments], process.exitcode, out.read(), err.read())
