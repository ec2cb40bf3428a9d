"""Programs in processes forked from one that has imported the slow libraries. New ones would take seconds."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from multiprocessing import forkserver
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["forked_imports"])


def start(folder: Path, function, *arguments, out: Path | None = None, err: Path | None = None):
    """Calls a function in a folder, in a process of its own, which may append what it prints to files."""
    with contextlib.chdir(Path(__file__).parent):  # where the server of Python 3.11 finds `forked_imports`
        forkserver.ensure_running()
    process = PROCESSES.Process(target=_call, args=(folder, out, err, function, arguments))
    process.start()
    return process


def _call(folder, out, err, function, arguments) -> None:
    for number, path in ((1, out), (2, err)):
        if path:
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.chdir(folder)
    function(*arguments)


def _module(name: str, *arguments: str) -> None:
    sys.path.insert(0, str(ROOT))
    sys.argv = [name, *arguments]
    sys.modules.pop(name, None)  # runpy warns about a module that is imported already
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def python_m(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess:
    """Runs `python -m module arguments` in a folder, with what it prints as text."""
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        process = start(folder, _module, module, *arguments, out=out.name, err=err.name)
        process.join(900)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"{module} did not end: {err.read()}")
        return subprocess.CompletedProcess([module, *arguments], process.exitcode, out.read(), err.read())
