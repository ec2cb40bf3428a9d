"""Writing files so that a kill leaves the old one or the new one, never half of either; one writer at a time."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO]:
    """Opens a temporary neighbour of `path`, which takes its place when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    # Half a surrogate pair has no UTF-8: it is written as \udxxx, which JSON reads back.
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n", "errors": "backslashreplace"}
    try:
        with open(temporary, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    with atomic_write(path) as file:
        json.dump(value, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")


def write_lines(path: str | Path, entries: Sequence[Any]) -> None:
    """A JSON list with one entry a line: many small entries stay compact, and a diff shows which of them changed."""
    with atomic_write(path) as file:
        lines = (json.dumps(entry, ensure_ascii=False, allow_nan=False) for entry in entries)
        file.write("[\n" + ",\n".join(lines) + "\n]\n")


def sha256_of(path: str | Path) -> str:
    """Of the file's bytes, as hexadecimal text."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(*values: Any) -> str:
    """A short hash of JSON-able values: equal values, equal hash, whatever the order of their keys."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def only_writer(path: str | Path) -> Iterator[None]:
    """Waits until no other process writes `path`, a file or a folder, and keeps others waiting meanwhile.

    A POSIX lock on a neighbour, `path.lock`: the system drops it when the process ends, in whatever way, and
    processes forked from this one do not inherit it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(path.name + ".lock"), "a+") as file:
        tries = 0
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise
            tries += 1
            if tries == 2:  # at the first the holder may not have written its number yet
                file.seek(0)
                holder = file.read().strip()
                print(f"waiting: process {holder} is writing {path} (`kill {holder}` stops it)", flush=True)
            time.sleep(0.2)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
