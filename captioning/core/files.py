"""Writes files atomically: a kill leaves the old file or the new one.

Only one process writes a file at a time.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from captioning.core.errors import UserError
from captioning.core.work import beside, work_folder

QUOTED = re.compile('[,"\r\n]')  # a cell with one of them is quoted


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields the path of a temporary file, which replaces `path` if the block ends without an error.

    The temporary file is in the working folder, so a kill leaves none in an output. The next writer of `path`
    removes it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _temporary(path) as temporary:
        yield temporary
        _sync(temporary)
        _move(temporary, path)


@contextmanager
def _temporary(path: str | Path) -> Iterator[Path]:
    """Yields a path for a file or folder that only this process writes. It is removed at the end."""
    temporary = beside("tmp", path)
    with open(_lock_of(temporary), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _remove(temporary)
        try:
            yield temporary
        finally:
            _remove(temporary)


def _lock_of(temporary: Path) -> Path:
    locks = temporary.parents[1] / "locks"
    locks.mkdir(exist_ok=True)
    return locks / f"{temporary.name}.write"


def _remove(temporary: Path) -> None:
    if temporary.is_dir():
        shutil.rmtree(temporary)
    else:
        temporary.unlink(missing_ok=True)


def remove_stale_temporaries() -> None:
    """Removes temporary files of killed writers from the working folder. Active writers hold a lock."""
    for temporary in (work_folder() / "tmp").glob("*"):
        with open(_lock_of(temporary), "w") as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(temporary)


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _move(temporary: Path, path: Path) -> None:
    try:
        os.replace(temporary, path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # Across file systems, only a neighbour can replace the file.
        neighbour = path.with_name(f".{path.name}.tmp")
        try:
            shutil.copyfile(temporary, neighbour)
            _sync(neighbour)
            os.replace(neighbour, path)
        finally:
            neighbour.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO]:
    """Opens a temporary file, which replaces `path` if the block ends without an error."""
    # Half a surrogate pair has no UTF-8 form. It is written as \udxxx, which JSON reads back.
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n", "errors": "backslashreplace"}
    with replacing(path) as temporary, open(temporary, mode, **text) as file:
        yield file


@contextmanager
def all_at_once(*paths: str | Path) -> Iterator[Path]:
    """Yields a folder for new versions of these files and folders; all are replaced when the block ends.

    A full disk or an error inside the block leaves everything unchanged.
    """
    with _temporary(paths[0]) as folder:
        folder.mkdir()
        yield folder
        for path in paths:
            for new in [Path(folder, path), *sorted(Path(folder, path).rglob("*"))]:
                if new.is_file():
                    place = new.relative_to(folder)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    _move(new, place)


def read_json(path: str | Path, advice: str = "") -> Any:
    """Reads a JSON file. Raises UserError, ending in `advice`, if it is unreadable or has a duplicate key."""
    told = f"; {advice}" if advice else ""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        return json.loads(text, object_pairs_hook=lambda pairs: _unique(path, pairs))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}{told}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}){told}") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}{told}"
        ) from None
    except ValueError as error:  # a number of thousands of digits
        raise UserError(f"{path} cannot be read: {error}{told}") from None
    except RecursionError:
        raise UserError(f"{path} cannot be read: it is nested too deeply{told}") from None


def _unique(path: str | Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Rejects duplicate keys. Python would keep the last one and silently drop an image's references."""
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise UserError(f"{path}: {twice!r} occurs twice in one object; expected each id once")
    return result


def write_json(path: str | Path, value: Any) -> None:
    with atomic_write(path) as file:
        json.dump(value, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")


def write_lines(path: str | Path, entries: Sequence[Any]) -> None:
    """Writes a JSON list with one entry per line: compact, and a diff shows which entries changed."""
    with atomic_write(path) as file:
        lines = (json.dumps(entry, ensure_ascii=False, allow_nan=False) for entry in entries)
        file.write("[\n" + ",\n".join(lines) + "\n]\n")


def csv_line(values: Iterable[Any]) -> str:
    """A row of a CSV file, with its line end; cells are quoted if necessary.

    Python's own writer does not quote a carriage return, and readers then end the row there.
    """
    return ",".join(_cell("" if value is None else str(value)) for value in values) + "\n"


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if QUOTED.search(text) else text


def sha256_of(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, as hexadecimal text."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(*values: Any) -> str:
    """A short hash of JSON-compatible values. Equal values have equal hashes, in any order of keys."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


@contextmanager
def only_writer(path: str | Path, wait: bool = True) -> Iterator[bool]:
    """Waits until no other process writes `path`, a file or a folder, and locks it.

    Yields True; or False at once, if another process writes it and `wait` is False. The lock is a POSIX lock
    on a file in the working folder. The system releases it when the process ends for any reason, and forked
    processes do not inherit it.
    """
    with open(beside("locks", path), "a+") as file:
        tries = 0
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise
            if not wait:
                yield False
                return
            tries += 1
            if tries == 2:  # at first, the holder may not have written its number yet
                file.seek(0)
                holder = file.read().strip()
                print(f"waiting: process {holder} is writing {path} (`kill {holder}` stops it)", flush=True)
            time.sleep(0.2)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield True
