"""The row store: all feature rows computed so far, by the hash of their image. Each encoder has a folder.

    IDENTITY/identity.json     what made the rows: attributes, and the hash of the code
    IDENTITY/manifest.jsonl    a line per closed shard: its name, its number of rows, the sha256 of its bytes
    IDENTITY/NAME.rows         a shard: a line of JSON with the shape of a row, then records, appended

The store is in the working folder and outlives the stages, so a return to earlier settings finds their rows.
Files are only appended to, so a kill loses no row that was written. The current shard is not in the manifest
yet. Each of its records has a checksum, and the next writer keeps all records before the first torn one.

Only the process that holds the folder's lock writes the manifest. Other processes, also on other machines,
may write whole shards for it (`write_shard`). A shard has a temporary name until it is complete. The process
with the lock then checks it and lists it (`adopt`). A shard that is missing, or that differs from its line in
the manifest, is never read: its rows count as not computed.
"""

from __future__ import annotations

import json
import os
import secrets
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from captioning.core.errors import UserError
from captioning.core.files import atomic_write, fingerprint, only_writer, sha256_of, write_json
from captioning.core.texts import Chosen, Index, Texts
from captioning.core.work import work_folder

SHARD_BYTES = 256 * 2**20  # a larger shard is closed


class Entry(NamedTuple):
    """A line of the manifest: a closed shard's file name, its number of rows, the sha256 of its bytes."""

    shard: str
    rows: int
    sha256: str

    def line(self) -> str:
        return json.dumps(self._asdict()) + "\n"


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
        self._known = Texts()  # the sha256 of each row, shard after shard
        self._shards: list[_Shard] = []
        self._starts: list[int] = []  # the number of each shard's first row
        self._index: Index | None = None  # index of the known rows, made when it is needed
        self._open: _Shard | None = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keeps other writers out and opens the existing shards. At the end, closes the written shard.

        Removes what dead workers left: at once, and at the end unless the block fails while others write.
        """
        with only_writer(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / "identity.json").exists():
                write_json(self.folder / "identity.json", self.made_by)
            self._remove_unfinished()
            self._read_folder()
            try:
                yield
                self._remove_unfinished()
            finally:
                self._close()

    def missing(self, sha256s: Sequence[str]) -> list[int]:
        """The places of images without a row, in order; of equal images, only the first."""
        firsts = Index(sha256s).firsts()
        return firsts[self._find(Chosen(sha256s, firsts)) < 0].tolist()

    def append(self, sha256s: Sequence[str], features: np.ndarray) -> None:
        """Adds rows (B, ...) float16. Once it returns, they survive a kill of this process."""
        self._check(features.shape[1:])
        if self._open is None:
            self._open = _Shard.new(self.folder / f"{secrets.token_hex(8)}.rows", features.shape[1:])
        self._enter(self._open, self._open.append(sha256s, features))
        if self._open.size() > SHARD_BYTES:
            self._close()

    def adopt(self, entry: Entry) -> None:
        """Lists a shard that another process wrote into this store's folder.

        Raises UserError if the shard is not there or not as the entry says.
        """
        shard, fault = self._open_listed(entry)
        if shard is None:
            raise UserError(
                f"{self.folder / entry.shard} {fault}, although a worker has just written it: put the "
                "project's folder (or the one that CAPTIONING_WORK names) "
                "on a file system that all machines of the cluster share"
            )
        self._check(shard.shape)
        self._list(entry)
        self._enter(shard, shard.sha256s())

    def read(self, sha256s: Sequence[str]) -> np.ndarray:
        """Reads the rows (B, ...) of these images, in this order."""
        out = np.empty((len(sha256s), *self.shape), np.float16)
        rows = self._find(sha256s)
        of = np.searchsorted(self._starts, rows, "right") - 1
        for number in np.unique(of):
            here = of == number
            out[here] = self._shards[number].records()["features"][rows[here] - self._starts[number]]
        return out

    def _find(self, sha256s: Iterable[str]) -> np.ndarray:
        """The number of each image's row; -1: there is none."""
        if self._index is None:
            self._index = Index(self._known)
        return self._index.find(sha256s)

    def _remove_unfinished(self) -> None:
        for shard in self.folder.glob("*.tmp"):
            shard.unlink(missing_ok=True)

    def _read_folder(self) -> None:
        entries, closed = self._read_manifest(), {}
        for entry in entries:
            shard, fault = self._open_listed(entry)
            if shard:
                closed[entry.shard] = shard, entry
            else:
                print(f"{self.folder / entry.shard} {fault}: its {entry.rows} rows are computed again")
                (self.folder / entry.shard).unlink(missing_ok=True)
        if len(closed) < len(entries):
            with atomic_write(self.manifest) as file:
                file.writelines(entry.line() for _, entry in closed.values())
        for path in sorted(self.folder.glob("*.rows")):
            shard = closed[path.name][0] if path.name in closed else _Shard.recover(path)
            if shard is None:
                path.unlink()
                continue
            if path.name not in closed:
                self._list(shard.entry())
            self._enter(shard, shard.sha256s())

    def _open_listed(self, entry: Entry) -> tuple[_Shard | None, str]:
        """Opens a closed shard if it is as the manifest says; otherwise returns what is wrong."""
        path = self.folder / entry.shard
        if not path.is_file():
            return None, "is missing"
        shard = _Shard.of(path)
        if shard is None or sha256_of(path) != entry.sha256:
            return None, "is damaged"
        if shard.count != entry.rows:
            return None, f"has {shard.count} rows, not {entry.rows}"
        return shard, ""

    def _read_manifest(self) -> list[Entry]:
        """Returns the entries, after it removes a line that a kill tore."""
        content = self.manifest.read_bytes() if self.manifest.exists() else b""
        whole = content.rpartition(b"\n")[0] + b"\n" if b"\n" in content else b""
        if whole != content:
            os.truncate(self.manifest, len(whole))
        try:
            entries = [Entry(**entry) for entry in map(json.loads, whole.splitlines())]
        except (ValueError, TypeError):  # damaged: each shard still knows its complete records
            self.manifest.unlink()
            return []
        return list({entry.shard: entry for entry in entries}.values())

    def _list(self, entry: Entry) -> None:
        with open(self.manifest, "a", encoding="utf-8") as file:
            file.write(entry.line())
            file.flush()
            os.fsync(file.fileno())

    def _enter(self, shard: _Shard, sha256s: Sequence[str]) -> None:
        self.shape, self._index = shard.shape, None
        if not self._shards or self._shards[-1] is not shard:
            self._shards.append(shard)
            self._starts.append(len(self._known))
        self._known.extend(sha256s)

    def _check(self, shape: tuple[int, ...]) -> None:
        if self.shape and self.shape != shape:
            raise ValueError(f"rows of shape {self.shape}, and now {shape}")

    def _close(self) -> None:
        if self._open:
            self._list(self._open.entry())
            self._open = None


def write_shard(folder: Path, sha256s: Sequence[str], batches: Iterable[np.ndarray]) -> Entry | None:
    """Writes one closed shard into a row store's folder, which another process lists with `RowStore.adopt`.

    Its name follows from `sha256s`, so a process that does the same work again replaces it.

    Args:
        batches: rows (B, ...) float16, in the order of `sha256s`; they may end early.

    Returns the shard's entry, or None if there were no rows.
    """
    path = folder / f"{fingerprint(list(sha256s))}.rows"
    temporary = path.with_name(f"{path.stem}-{secrets.token_hex(8)}.tmp")
    shard = None
    try:
        for batch in batches:
            shard = shard or _Shard.new(temporary, batch.shape[1:])
            shard.append(sha256s[shard.count : shard.count + len(batch)], batch)
        if shard is None:
            return None
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        entry = shard.entry()._replace(shard=path.name)
        os.replace(temporary, path)
        return entry
    finally:
        temporary.unlink(missing_ok=True)


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

    def entry(self) -> Entry:
        return Entry(self.path.name, self.count, sha256_of(self.path))

    def sha256s(self) -> list[str]:
        return [sha256.decode() for sha256 in self.records()["sha256"].tolist()]

    def records(self) -> np.ndarray:
        if not self.count:
            return np.empty(0, self.dtype)
        return np.memmap(self.path, self.dtype, "r", self.start, (self.count,))


def _checksum(record: np.void) -> int:
    return zlib.crc32(np.ascontiguousarray(record["features"]).tobytes(), zlib.crc32(record["sha256"]))
