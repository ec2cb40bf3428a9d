"""A CSV or JSON Lines file of captions, written one picture at a time. An interrupted file can be continued.

A row holds `file`, `model`, `caption`, `score` (log-probability / length ** generate.length_penalty), and the
`mean` and `lowest` probability of its tokens. If the process is killed, the last picture's rows may be cut.
They are dropped and written again.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from captioning.core.errors import UserError
from captioning.core.files import csv_line

COLUMNS = ("file", "model", "caption", "score", "mean", "lowest")
ENDINGS = (".csv", ".jsonl")
TEXT = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}  # file names need not be UTF-8


class Results:
    """The file, open for more rows.

    Args:
        captions: number of rows for each picture.

    Attributes:
        done: (absolute path, model) of the pictures whose rows are in the file.

    Raises:
        UserError: the file holds something else, cannot be written, or is being written by another process.
    """

    def __init__(self, path: str, captions: int) -> None:
        self.path, self.csv = Path(path), path.lower().endswith(".csv")
        try:
            rows, whole = self._read()
            if rows:
                counts = Counter((row["file"], row["model"]) for row in rows)
                newest = rows[-1]["file"], rows[-1]["model"]
                if counts[newest] < captions:
                    rows, whole = [row for row in rows if (row["file"], row["model"]) != newest], False
                    del counts[newest]
                if counts and (most := max(counts.values())) != captions:
                    what = f"{path} has {most} captions of each picture"
                    raise UserError(f"{what}: give --captions {most}, or choose another --out")
            self._check_writer()
            if not whole:
                self._replace(self._text(rows, header=True).encode("utf-8", "surrogateescape"))
            self.file = open(self.path, "a", **TEXT)  # noqa: SIM115
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{path} is being written by another process; wait for it or choose another --out"
            ) from None
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}; choose another --out") from None
        self.done = {(os.path.abspath(row["file"]), row["model"]) for row in rows}

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Writes all rows of one picture."""
        self.file.write(self._text(rows))
        self.file.flush()

    def _replace(self, content: bytes) -> None:
        """Replaces the file atomically, by a temporary file beside it, since there is no working folder."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        neighbour = self.path.with_name(f".{self.path.name}.tmp")
        neighbour.write_bytes(content)
        neighbour.replace(self.path)

    def _check_writer(self) -> None:
        if self.path.exists():
            with open(self.path, "r+") as file:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _text(self, rows: Iterable[dict[str, Any]], header: bool = False) -> str:
        if not self.csv:
            return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        lines = [csv_line(COLUMNS)] if header else []
        return "".join([*lines, *(csv_line(row[column] for column in COLUMNS) for row in rows)])

    def _read(self) -> tuple[list[dict[str, Any]], bool]:
        """The rows in the file, and whether the file holds nothing else."""
        if not self.path.exists():
            return [], False
        with open(self.path, **TEXT) as file:
            text = file.read()
        if not text:
            return [], False
        lines = text.split("\n")
        cut = lines.pop() != ""
        try:
            if self.csv:
                header, *found = csv.reader(io.StringIO(text, newline=""))
                if tuple(header) != COLUMNS:
                    raise ValueError
                if found and (cut or len(found[-1]) != len(COLUMNS)):
                    found, cut = found[:-1], True
                rows = [dict(zip(COLUMNS, row, strict=True)) for row in found]
            else:
                rows = [json.loads(line) for line in lines]
            if any(type(row) is not dict or set(row) != set(COLUMNS) for row in rows):
                raise ValueError
            if any(type(row[name]) is not str for row in rows for name in COLUMNS[:3]):
                raise ValueError
            if cut and not self.csv and not rows and text[:9] != '{"file": '[: len(text)]:
                raise ValueError
        except (ValueError, RecursionError, csv.Error):
            raise UserError(
                f"{self.path} does not have the columns {', '.join(COLUMNS)}, so it is not overwritten; "
                "choose another --out"
            ) from None
        return rows, not cut
