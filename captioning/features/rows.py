"""The row store: all feature rows computed so far, by the hash of their image. Each encoder has a folder.

    IDENTITY/identity.json     what made the rows: attributes, and the hash of the code
    IDENTITY/manifest.jsonl    a line per closed shard: its name, its number of rows, the sha256 of its bytes
    IDENTITY/NAME.rows         a shard: a line of JSON with the shape of a row, then records, appended

The store is in the working folder and outlives the stages, so a return to earlier settings finds their rows.
Files are only appended to, so a kill loses no row that was written. The current shard is not in the manifest
yet. Each of its records has a checksum, and the next writer keeps all records before the first torn one. Each
process writes to its own shard under its own name, so several processes could write at once if each locked
only its shard. Today one lock covers the whole folder.
"""

from __future__ import annotations

import json
import os
import secrets
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from captioning.core.files import fingerprint, only_writer, sha256_of, write_json
from captioning.core.work import work_folder

SHARD_BYTES = 256 * 2**20  # a larger shard is closed


class RowStore:
    """The rows of one encoder.

    Args:
        attrs: everything except the image and the code that determines a row.
        code: hash of the code that computes rows.
    """

    def __init__(self, attrs: dict[str, str], code: str) -> None:
        self.made_by = {"attributes": attrs, "code": code}
        self.folder = work_folder() / "rows" / fingerprint(self.made_by)
        self.manifest = self.folder / "manifest.jsonl"
        self.shape: tuple[int, ...] = ()
        self._where: dict[str, tuple[_Shard, int]] = {}  # sha256 -> shard, record
        self._open: _Shard | None = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keeps other writers out and opens the existing shards. At the end, closes the written shard."""
        with only_writer(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / "identity.json").exists():
                write_json(self.folder / "identity.json", self.made_by)
            self._read_folder()
            try:
                yield
            finally:
                self._close()

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._where

    def append(self, sha256s: Sequence[str], features: np.ndarray) -> None:
        """Adds rows (B, ...) float16. Once it returns, they survive a kill of this process."""
        if self.shape and self.shape != features.shape[1:]:
            raise ValueError(f"rows of shape {self.shape}, and now {features.shape[1:]}")
        if self._open is None:
            self._open = _Shard.new(self.folder / f"{secrets.token_hex(8)}.rows", features.shape[1:])
        self._enter(self._open, self._open.append(sha256s, features))
        if self._open.size() > SHARD_BYTES:
            self._close()

    def read(self, sha256s: Sequence[str]) -> np.ndarray:
        """Reads the rows (B, ...) of these images, in this order."""
        out = np.empty((len(sha256s), *self.shape), np.float16)
        places: dict[_Shard, list[tuple[int, int]]] = {}
        for position, sha256 in enumerate(sha256s):
            shard, record = self._where[sha256]
            places.setdefault(shard, []).append((position, record))
        for shard, pairs in places.items():
            positions, records = zip(*pairs, strict=True)
            out[list(positions)] = shard.records()["features"][list(records)]
        return out

    def _read_folder(self) -> None:
        closed = self._read_manifest()
        for path in sorted(self.folder.glob("*.rows")):
            if path.name not in closed:
                shard = _Shard.recover(path)
                if shard:
                    self._add_to_manifest(shard)
            else:
                shard = _Shard.of(path) if sha256_of(path) == closed[path.name]["sha256"] else None
                if shard is None:
                    print(f"{path} is damaged: its {closed[path.name]['rows']} rows are computed anew")
            if shard is None:
                path.unlink()
            else:
                self._enter(shard, [record.decode() for record in shard.records()["sha256"].tolist()])

    def _read_manifest(self) -> dict[str, dict]:
        """Returns {name of a shard: its entry}, after it removes a line that a kill tore."""
        content = self.manifest.read_bytes() if self.manifest.exists() else b""
        whole = content.rpartition(b"\n")[0] + b"\n" if b"\n" in content else b""
        if whole != content:
            os.truncate(self.manifest, len(whole))
        try:
            return {entry["shard"]: entry for entry in map(json.loads, whole.splitlines())}
        except (ValueError, KeyError, TypeError):  # damaged: each shard still knows its complete records
            self.manifest.unlink()
            return {}

    def _add_to_manifest(self, shard: _Shard) -> None:
        entry = {"shard": shard.path.name, "rows": shard.count, "sha256": sha256_of(shard.path)}
        with open(self.manifest, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _enter(self, shard: _Shard, sha256s: Sequence[str]) -> None:
        self.shape = shard.shape
        first = shard.count - len(sha256s)
        self._where.update((sha256, (shard, first + i)) for i, sha256 in enumerate(sha256s))

    def _close(self) -> None:
        if self._open:
            self._add_to_manifest(self._open)
            self._open = None


class _Shard:
    """One file of rows."""

    def __init__(self, path: Path, shape: Sequence[int], start: int) -> None:
        self.path, self.shape, self.start, self.count = path, tuple(shape), start, 0
        self.dtype = np.dtype([("sha256", "S64"), ("checksum", "<u4"), ("features", "<f2", self.shape)])

    @classmethod
    def new(cls, path: Path, shape: Sequence[int]) -> _Shard:
        line = json.dumps({"shape": list(shape)}).encode() + b"\n"
        path.write_bytes(line)
        return cls(path, shape, len(line))

    @classmethod
    def of(cls, path: Path) -> _Shard | None:
        """Opens a shard and counts its complete records. Returns None if its first line is torn."""
        with open(path, "rb") as file:
            line = file.readline()
        try:
            shard = cls(path, json.loads(line)["shape"], len(line))
        except (ValueError, KeyError, TypeError):
            return None
        shard.count = (shard.size() - shard.start) // shard.dtype.itemsize
        return shard

    @classmethod
    def recover(cls, path: Path) -> _Shard | None:
        """Opens a shard after a kill or a power cut; truncates it at the first incomplete record.

        Returns None if nothing of it is left.
        """
        shard = cls.of(path)
        if shard:
            records = shard.records()
            wrong = (row for row, one in enumerate(records) if _checksum(one) != one["checksum"])
            shard.count = next(wrong, shard.count)
            os.truncate(path, shard.start + shard.count * shard.dtype.itemsize)
        return shard if shard and shard.count else None

    def size(self) -> int:
        return self.path.stat().st_size

    def append(self, sha256s: Sequence[str], features: np.ndarray) -> Sequence[str]:
        records = np.empty(len(features), self.dtype)
        records["sha256"], records["features"] = [sha.encode() for sha in sha256s], features
        records["checksum"] = [_checksum(record) for record in records]
        with open(self.path, "ab") as file:
            file.write(records.tobytes())
        self.count += len(records)
        return sha256s

    def records(self) -> np.ndarray:
        if not self.count:
            return np.empty(0, self.dtype)
        return np.memmap(self.path, self.dtype, "r", self.start, (self.count,))


def _checksum(record: np.void) -> int:
    return zlib.crc32(np.ascontiguousarray(record["features"]).tobytes(), zlib.crc32(record["sha256"]))
