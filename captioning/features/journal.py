"""An append-only file of feature rows that a kill at any moment leaves readable."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import numpy as np


class Journal:
    """Rows computed but not yet in the store: a line of JSON that says how they were made, then records, appended.

    A record holds a checksum of itself, so that one torn by a kill or a power cut is noticed and computed again.
    """

    def __init__(self, path: Path, attrs: dict[str, str]) -> None:
        self.path, self.attrs = path, attrs
        self.shape: tuple[int, ...] = ()
        self.rows: dict[str, int] = {}  # sha256 -> record
        if path.exists():
            self._recover()

    def _recover(self) -> None:
        with open(self.path, "rb") as file:
            line = file.readline()
        try:
            header = json.loads(line) if line.endswith(b"\n") else {}
        except ValueError:
            header = {}
        if header.get("attrs") != self.attrs:
            self.path.unlink()  # torn in its first line, or of other weights
            return
        self._set_shape(tuple(header["shape"]), len(line))
        whole = (self.path.stat().st_size - self.start) // self.dtype.itemsize
        for row, record in enumerate(self._records(whole)):
            if _checksum(record["sha256"], record["features"]) != record["checksum"]:
                whole = row
                break
            self.rows[record["sha256"].decode()] = row
        os.truncate(self.path, self.start + whole * self.dtype.itemsize)

    def _set_shape(self, shape: tuple[int, ...], start: int) -> None:
        self.shape, self.start = shape, start
        self.dtype = np.dtype([("sha256", "S64"), ("checksum", "<u4"), ("features", "<f2", shape)])

    def _records(self, count: int) -> np.ndarray:
        if count == 0:
            return np.empty(0, self.dtype)
        return np.memmap(self.path, self.dtype, "r", self.start, (count,))

    def append(self, sha256s: list[str], features: np.ndarray) -> None:
        """Adds rows (B, ...) float16; once it returns, they survive a kill of this process."""
        content = b""
        if not self.shape:
            content = json.dumps({"attrs": self.attrs, "shape": features.shape[1:]}, sort_keys=True).encode() + b"\n"
            self._set_shape(features.shape[1:], len(content))
        records = np.empty(len(features), self.dtype)
        records["sha256"], records["features"] = [sha.encode() for sha in sha256s], features
        records["checksum"] = [_checksum(r["sha256"], r["features"]) for r in records]
        with open(self.path, "ab") as file:
            file.write(content + records.tobytes())
        for sha in sha256s:
            self.rows[sha] = len(self.rows)

    def read(self, sha256s: list[str]) -> np.ndarray:
        return self._records(len(self.rows))["features"][[self.rows[sha] for sha in sha256s]]

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def _checksum(sha256: bytes, features: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(features).tobytes(), zlib.crc32(sha256))
