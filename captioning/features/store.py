"""The feature store: an HDF5 file per encoder with a float16 row per image, and its origin as attributes.

    ids         (N,)                    fixed-length UTF-8, as long as the longest id
    sha256      (N,)                    of each image file's bytes
    features    (N, D), (N, H, W, C) of a grid or (N, P, W) of patches  float16, contiguous
    attributes                          encoder, layer, weights, preprocessing, normalization, precision, ...,
                                        `data`: one hash of all ids and images

`captioning.features.extract` makes such files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from captioning.core.errors import UserError, opening
from captioning.core.files import replacing
from captioning.core.texts import AT_ONCE, Chosen, Index

FORMAT = "features 1"  # the format's version; raise it when the layout or meaning changes
BLOCK_BYTES = 64 * 2**20  # bytes of rows that are copied at once


class FeatureStore:
    """An open feature file. Rows are read when requested, so a store may be passed to other processes.

    Reading raises UserError if another file has taken this one's place.
    """

    def __init__(
        self, path: Path, version: tuple, index: Index, attrs: dict[str, str], shape, offset
    ) -> None:
        self._path, self._version, self.attrs = path, version, attrs
        self.shape: tuple[int, ...] = shape  # (N, D) or (N, H, W, C)
        self._offset, self._index = offset, index

    @classmethod
    def open(cls, path: str | Path, expect: dict[str, str] | None = None) -> FeatureStore:
        """Opens a file and compares its attributes with the expected ones.

        Raises:
            UserError: the file is missing, damaged, of another format, or made by another encoder than
                expected.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path} is missing: run `dvc repro` (its stage is extract_{path.stem})")
        damaged = f"remove it and run `dvc repro`, or `dvc checkout {path}`"
        version = _version(path)
        with opening(path, "a feature store", damaged):  # noqa: SIM117
            # Stores are replaced by renaming, so readers need no lock; some file systems have no locks.
            with h5py.File(path, "r", locking=False) as file:
                attrs = {name: str(value) for name, value in file.attrs.items()}
                if attrs.get("format") != FORMAT:
                    raise UserError(f"{path} is not a feature store of this version: {damaged}")
                features, sha256s = file["features"], file["sha256"]
                ids = file["ids"]
                shape, offset = features.shape, features.id.get_offset()
                equal = len(ids) == len(sha256s) == len(features)
                if features.dtype != np.float16 or offset is None or not equal:
                    raise UserError(f"{path} is not laid out as a feature store: {damaged}")
                if offset + features.nbytes > path.stat().st_size:
                    raise UserError(f"{path} is cut short: {damaged}")
                index = Index(_texts(ids))
        for name, wanted in (expect or {}).items():
            if attrs.get(name) != wanted:
                raise UserError(
                    f"{path} was made with {name} = {attrs.get(name)!r}, but {wanted!r} is expected: "
                    "features and decoder belong to different encoders; run `dvc repro` to make both again"
                )
        return cls(path, version, index, attrs, shape, offset)

    @property
    def path(self) -> Path:
        """Where the file is. Raises UserError if it is no longer the one that was opened."""
        if not self._path.is_file() or _version(self._path) != self._version:
            raise UserError(f"{self._path} was replaced or removed while it was in use: start again")
        return self._path

    @property
    def ids(self) -> list[str]:
        """The ids of all images, read from the file."""
        with h5py.File(self.path, "r", locking=False) as file:
            return list(_texts(file["ids"]))

    def __len__(self) -> int:
        return self.shape[0]

    def load(self, ids: Sequence[str]) -> np.ndarray:
        """Features of these images, in this order, float16 (len(ids), D) or (len(ids), H, W, C)."""
        return self.read(self.rows(ids))

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        """The positions of these images' rows, for `read`. Raises UserError if the store lacks one."""
        rows = self._index.find(ids)
        if len(missing := np.flatnonzero(rows < 0)):
            raise UserError(
                f"{self.path} has no features of {len(missing)} of {len(ids)} images, such as "
                f"{some(Chosen(ids, missing))}: run `dvc repro`"
            )
        return rows

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Returns the rows at these positions, in this order; reads them in the file's order.

        Maps one block of the file at a time, so it needs little memory beside the result.
        """
        order = np.argsort(rows, kind="stable")
        out = np.empty((len(rows), *self.shape[1:]), np.float16)
        for start in range(0, len(rows), step := _rows_at_once(self.shape[1:])):
            block = order[start : start + step]
            out[block] = np.memmap(self.path, np.float16, "r", self._offset, self.shape)[rows[block]]
        return out


def _version(path: Path) -> tuple[int, int]:
    """Identifies a file at a path: replacing or writing it changes this. Inode numbers may not last."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def write_store(
    path: Path,
    ids: Sequence[str],
    sha256s: Sequence[str],
    attrs: dict[str, str],
    shape: tuple[int, ...],
    rows: Callable[[range], np.ndarray],
) -> None:
    """Writes a whole store in order and replaces the one at `path`. Equal input gives equal bytes."""
    data, before, width = hashlib.sha256(), "", 1
    for image_id, sha256 in zip(ids, sha256s, strict=True):
        data.update(f"{before}{image_id} {sha256}".encode())
        before, width = "\n", max(width, len(image_id.encode()))
    with replacing(path) as temporary, h5py.File(temporary, "w", libver="v110", locking=False) as file:
        for name, value in sorted((attrs | {"data": data.hexdigest(), "format": FORMAT}).items()):
            file.attrs[name] = value
        _write_texts(file, "ids", ids, h5py.string_dtype("utf-8", width))
        _write_texts(file, "sha256", sha256s, np.dtype("S64"))
        features = file.create_dataset("features", (len(ids), *shape), np.float16)
        step = _rows_at_once(shape)
        for start in range(0, len(ids), step):
            block = range(start, min(start + step, len(ids)))
            features[block.start : block.stop] = rows(block)


def _texts(column: h5py.Dataset) -> Iterator[str]:
    for start in range(0, len(column), AT_ONCE):
        yield from (text.decode() for text in column[start : start + AT_ONCE].tolist())


def _write_texts(file: h5py.File, name: str, texts: Sequence[str], dtype: np.dtype) -> None:
    column = file.create_dataset(name, (len(texts),), dtype)
    for start in range(0, len(texts), AT_ONCE):
        block = texts[start : start + AT_ONCE]
        column[start : start + len(block)] = np.array([text.encode() for text in block], dtype)


def _rows_at_once(shape: tuple[int, ...]) -> int:
    return max(1, BLOCK_BYTES // (2 * int(np.prod(shape))))


def some(ids: Sequence[str]) -> str:
    """The first few texts of a sequence, for a message."""
    return ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
