"""`dvc` and `python -m` for tests of pipelines, forked from a process that has imported the slow libraries.

A pipeline starts a program for each stage. To import torch takes it far longer than to train a tiny network.
`commands` gives a folder for PATH with a `dvc` and a `python`. They hand their arguments, folder, environment
and open files to a server, which forks a process that does what the program would do. That process imports
the project's code from its folder: the server has imported other packages only. Signals do not reach it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

OURS = ("app", "benchmarks", "captioning", "commands", "models", "scenes", "stages")
COMMAND = '#!/bin/sh\nexec "{python}" -IS "{client}" "{socket}" {name} "$@"\n'


@contextlib.contextmanager
def commands() -> Iterator[Path]:
    """A folder with the programs `dvc` and `python`, which serves them until the context ends."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        words = {"python": sys.executable, "client": Path(__file__).with_name("warm_client.py")}
        for program in (Path(folder, name) for name in ("dvc", "python")):
            program.write_text(COMMAND.format(**words, socket=f"{folder}/socket", name=program.name))
            program.chmod(0o755)
        listener.bind(f"{folder}/socket")
        listener.listen(64)
        server = subprocess.Popen([sys.executable, __file__], stdin=listener)
        try:
            yield Path(folder)
        finally:
            server.terminate()
            server.wait()


def main() -> None:
    """Forks a process for each request, and one that waits for it."""
    path = sys.path[1:]
    for module in ("dvc.cli", "dvc.commands.experiments.run", "dvc.commands.repro", "forked_imports"):
        importlib.import_module(module)
    for module in [name for name in sys.modules if name.split(".")[0] in OURS]:
        del sys.modules[module]
    gc.collect()
    gc.freeze()  # the forked processes share these pages as long as nothing writes to them
    listener = socket.socket(fileno=os.dup(0))
    signal.signal(signal.SIGCHLD, bury)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            answer(connection, path)
            os._exit(0)
        connection.close()


def bury(*_) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def answer(connection: socket.socket, path: list[str]) -> None:
    """Runs the program that a client asks for in a process with its open files, and says how that ended."""
    text, files, _, _ = socket.recv_fds(connection, 2**16, 3)
    while more := connection.recv(2**16):
        text += more
    process = multiprocessing.get_context("fork").Process(target=run, args=(text, files, path))
    process.start()
    for file in files:
        os.close(file)
    process.join()
    connection.send(str(process.exitcode).encode())


def run(text: bytes, files: list[int], path: list[str]) -> None:
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    folder, count, *words = map(os.fsdecode, text.split(b"\0"))
    (program, *arguments), environment = words[: int(count)], words[int(count) :]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(word.split("=", 1) for word in environment)
    if program == "dvc":
        from dvc.cli import main

        sys.argv = ["dvc", *arguments]
        sys.exit(main())
    sys.path[:] = [folder, *path]
    sys.argv = arguments[1:]
    runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
