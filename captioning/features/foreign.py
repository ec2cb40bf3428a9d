"""Opens feature files made elsewhere (.npz, .h5 or clip-retrieval's folder) after a test in another process.

A damaged or manipulated file can hang or crash HDF5, and the reading process cannot prevent that. So a child
process reads the whole file first, with a time limit.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from captioning.core.errors import UserError, command, opening
from captioning.core.texts import AT_ONCE, Texts
from captioning.core.threads import ending_with_this

# Time limit for reading a file: a start-up time, and a slow disk's rate.
SECONDS, BYTES_A_SECOND = 180, 5 * 10**6
BLOCK_BYTES = 64 * 2**20  # read at once
MEND = "save it again as an .npz or .h5 with `ids` and `features`"


@contextmanager
def arrays(source: Path) -> Iterator[tuple[Texts, Features]]:
    """Returns the ids and features of a file or folder. Only an .npz's features are read at once."""
    if source.is_dir():
        with opening(source, "a folder of features", "have clip-retrieval write it again"):
            yield _clip_retrieval(source)
        return
    if source.suffix.lower() not in (".npz", ".h5", ".hdf5"):
        raise UserError(f"{source}: expected features in an .npz or .h5 file, or a folder of clip-retrieval")
    with opening(source, "a file of features", MEND):
        if source.suffix.lower() == ".npz":
            file = np.load(source, allow_pickle=False)
        else:
            # Chunks are unpacked once: their cache holds a large one.
            file = h5py.File(source, "r", locking=False, rdcc_nbytes=BLOCK_BYTES)
    with file:
        with opening(source, "a file of features", MEND):
            if missing := [name for name in ("ids", "features") if name not in file]:
                raise UserError(f"{source} must hold `ids` and `features`; there is no `{missing[0]}`")
            try:
                ids, features = file["ids"], file["features"]
            except ValueError as error:
                if "pickle" not in str(error):
                    raise
                # numpy itself suggests to allow pickles, which can run any code
                fault = "it holds Python objects, which are not opened; save ids as np.array(ids, dtype=str)"
                raise UserError(f"{source} cannot be read: {fault}") from None
            if not isinstance(features, np.ndarray | h5py.Dataset):
                raise UserError(f"{source} cannot be read: `features` is a group, not an array")
            names = _names(ids)
        yield names, features


class Parts:
    """Arrays (n, D) one after another, read as one."""

    ndim = 2

    def __init__(self, arrays: list[np.ndarray]) -> None:
        self.arrays, self.dtype = arrays, np.result_type(*arrays)
        self.starts = np.cumsum([0, *map(len, arrays)])
        self.shape = int(self.starts[-1]), arrays[0].shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))
        first, last = np.searchsorted(self.starts, (start, stop - 1), "right") - 1
        here = range(first, last + 1)
        return np.concatenate(
            [self.arrays[i][max(0, start - self.starts[i]) : stop - self.starts[i]] for i in here]
        )


Features = np.ndarray | h5py.Dataset | Parts


def _names(ids: np.ndarray | h5py.Dataset) -> Texts:
    column, names = ids if ids.ndim == 1 else np.ravel(ids[()]), Texts()
    for start in range(0, len(column), AT_ONCE):
        block = column[start : start + AT_ONCE].tolist()
        names.extend([item.decode() if isinstance(item, bytes) else str(item) for item in block])
    return names


def _clip_retrieval(folder: Path) -> tuple[Texts, Parts]:
    """Reads a folder of `clip-retrieval inference`: img_emb/img_emb_N.npy and metadata/metadata_N.parquet.

    Rows of both files correspond. Ids are the pictures' paths below their common folder.
    """
    try:
        from pyarrow.parquet import read_table
    except ImportError:
        raise UserError(
            f"{folder} has .parquet files, and reading them needs pyarrow: `uv pip install pyarrow` first"
        ) from None
    parts = sorted(folder.glob("img_emb/img_emb_*.npy"), key=lambda part: (len(part.name), part.name))
    if not parts:
        raise UserError(f"{folder} has no img_emb/img_emb_*.npy, as clip-retrieval writes them")
    described = {
        part.stem.replace("metadata", "img_emb") for part in folder.glob("metadata/metadata_*.parquet")
    }
    if lost := sorted(described - {part.stem for part in parts}):
        raise UserError(f"{folder} has no img_emb/{lost[0]}.npy, although metadata describes its pictures")
    paths, arrays, shared = Texts(), [], None
    for part in parts:
        table = folder / "metadata" / f"{part.stem.replace('img_emb', 'metadata')}.parquet"
        if not table.is_file():
            raise UserError(f"{table} is missing: it must name the pictures of {part.name}")
        rows, columns = np.load(part, "r", allow_pickle=False), read_table(table).to_pydict()
        if "image_path" not in columns:
            raise UserError(f"{table} has no column image_path; it has {', '.join(columns) or 'none'}")
        if rows.ndim != 2 or len(rows) != len(columns["image_path"]):
            names = len(columns["image_path"])
            raise UserError(
                f"{part} has shape {rows.shape}, but {table.name} has {names} rows: expected as many"
            )
        arrays.append(rows)
        names = list(map(str, columns["image_path"]))
        folders = {os.path.dirname(name) for name in names} | ({shared} if shared is not None else set())
        shared = os.path.commonpath(folders) if folders else None
        paths.extend(names)
    if len({array.shape[1] for array in arrays}) > 1:
        raise UserError(f"{folder}/img_emb has embeddings of several widths; expected one width")
    return Texts(os.path.relpath(path, shared or ".") for path in paths), Parts(arrays)


def try_out(source: Path) -> None:
    """Reads a whole file in another process. Raises UserError if that fails, crashes or takes too long."""
    files = source.rglob("*") if source.is_dir() else [source]
    seconds = SECONDS + sum(file.stat().st_size for file in files) / BYTES_A_SECOND
    call = [sys.executable, "-m", "captioning.features.foreign", str(source.absolute())]
    try:
        done = subprocess.run(
            call,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            preexec_fn=ending_with_this(),
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{source} could not be read in {seconds:.0f} s and may be damaged: {MEND}") from None
    if done.returncode:
        fault = (done.stderr.strip().splitlines() or [f"its reader ended with {done.returncode}"])[-1]
        if not fault.startswith("error: "):
            fault = f"{source} is damaged ({fault}): {MEND}"
        raise UserError(fault.removeprefix("error: ").replace(str(source.absolute()), str(source)))


@command
def main() -> None:
    source = Path(sys.argv[1])
    with arrays(source) as (_, features), opening(source, "a file of features", MEND):
        if features.ndim == 0:
            return  # the caller reports a wrong shape
        row = int(np.prod(features.shape[1:])) * features.dtype.itemsize
        step = max(1, BLOCK_BYTES // max(1, row))
        for start in range(0, len(features), step):
            features[start : start + step]


if __name__ == "__main__":
    main()
