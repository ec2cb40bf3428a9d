"""Makes a feature store: every image goes through an encoder exactly once.

Each batch of rows is added to the row store in the working folder. At the end the file is written from it, in
order, and replaces the old one. A kill therefore loses at most one batch, the bytes do not depend on the
order of computation, and no reader sees half a file. Rows are found by their image's hash, even after the
stage's output is deleted. New or changed images are computed; removed or renamed ones cost nothing. (The
batch size can change a last digit but does not invalidate rows: bytes are equal for equal settings on one
machine. `steady` ensures that an image's place in a batch, which depends on earlier runs, has no effect.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from captioning.core.errors import FULL, UserError
from captioning.core.files import only_writer
from captioning.core.pictures import ImageFault
from captioning.core.progress import track
from captioning.core.texts import Chosen, Index
from captioning.core.work import work_folder
from captioning.features.encode import encode, images_at_once, steady, to_float16
from captioning.features.encoders import Encoder
from captioning.features.jpeg import decoding
from captioning.features.pixels import ImageFiles
from captioning.features.rows import RowStore
from captioning.features.store import some, write_store


@dataclass(frozen=True)
class Written:
    """The number of a store's rows that were reused, of those computed, and of copies of these."""

    reused: int
    computed: int
    copies: int = 0  # images with the same bytes as an earlier one


@dataclass
class Work:
    """The outcome of an extraction: its rows, and the mean seconds that each process's network worked."""

    written: Written | None = None
    busy: float = 0.0


def extract(
    path: str | Path,
    encoder: Encoder,
    ids: Sequence[str],
    paths: Sequence[str],
    sha256s: Sequence[str],
    batch_size: int,
    workers: int,
) -> Written:
    """Updates the store at `path` for a list of images and prints the time it took."""
    rule = decoding(encoder.device)

    def compute(needed: list[int]) -> Iterator[np.ndarray]:
        places = np.array(needed)
        files = ImageFiles(Chosen(paths, places), encoder.preprocess, Chosen(sha256s, places))
        size = steady(encoder, images_at_once(encoder, batch_size))
        encoded = encode(encoder, files, size, workers, engines=bool(rule))
        total = -(-len(needed) // size)
        for features, seconds in track(encoded, f"{Path(path).stem}: encoding", total, f"batch of {size}"):
            work.busy += seconds
            yield features

    with reporting(path, encoder.attributes) as work:
        work.written = write_features(path, ids, sha256s, encoder.attributes | rule, encoder.code, compute)
    return work.written


@contextmanager
def reporting(path: str | Path, attrs: dict[str, str], where: str = "") -> Iterator[Work]:
    """Prints what makes the features, and at the end how many there are and how long it took.

    An unusable image ends the block with a UserError that says what to do.
    """
    started, work = time.perf_counter(), Work()
    print(f"{path}: {attrs['encoder']} on {attrs['device']}{where}, {attrs['precision']}", flush=True)
    try:
        yield work
    except ImageFault as fault:
        raise UserError(
            f"{fault}. Restore or remove the file, run `dvc repro -f prepare` and then `dvc repro`; "
            "the features computed so far are kept"
        ) from None
    seconds, written = time.perf_counter() - started, work.written
    images = written.reused + written.computed + written.copies
    copies = f", {written.copies} with the same content as another" if written.copies else ""
    line = f"{path}: {images} images, {written.reused} reused, {written.computed} computed{copies}"
    line += f" in {seconds:.1f} s"
    if written.computed:
        rate, busy = written.computed / seconds, work.busy / seconds
        line += f" ({rate:.1f} images/s, {busy:.0%} of the time in the network)"
    print(line)


def write_features(
    path: str | Path,
    ids: Sequence[str],
    sha256s: Sequence[str],
    attrs: dict[str, str],
    code: str,
    compute: Callable[[list[int]], Iterator[np.ndarray]],
) -> Written:
    """Updates a feature file for a list of images; computes only the missing rows.

    Args:
        ids: the ids of all images, in the order of the file.
        sha256s: the hashes of the images' bytes, as hexadecimal text.
        attrs: everything except the image that determines the features. Rows with other attributes are not
            used.
        code: hash of the code that computes features. Rows of other code are not used. The file does not
            contain it.
        compute: takes the positions of the images needed and yields their features in that order, in batches
            (B, ...) of floats. A batch is safe from a kill once the next one is requested.

    Raises:
        UserError: features that are not finite or too large for float16, a full disk, or a duplicate id.
    """

    def fill(rows: RowStore, needed: list[int]) -> None:
        done = 0
        for batch in compute(needed):
            positions = np.array(needed[done : done + len(batch)])
            rows.append(Chosen(sha256s, positions)[:], to_float16(batch, Chosen(ids, positions)))
            done += len(batch)
        if done != len(needed):
            raise ValueError(f"compute gave {done} rows for {len(needed)} images")

    return fill_and_write(path, ids, sha256s, attrs, code, fill)


def fill_and_write(
    path: str | Path,
    ids: Sequence[str],
    sha256s: Sequence[str],
    attrs: dict[str, str],
    code: str,
    fill: Callable[[RowStore, list[int]], None],
) -> Written:
    """Like `write_features`, with a function that itself adds rows at given positions to the row store."""
    path = Path(path)
    rows = RowStore(attrs, code)
    with writing(path, ids), rows.writing():
        needed = rows.missing(sha256s)
        if needed:
            fill(rows, needed)
        write_store(
            path, ids, sha256s, attrs, rows.shape, lambda block: rows.read(sha256s[block.start : block.stop])
        )
    copies = len(Index(sha256s).repeats())
    return Written(len(ids) - len(needed) - copies, len(needed), copies)


@contextmanager
def writing(path: Path, ids: Sequence[str]) -> Iterator[None]:
    """Checks the ids, makes the folder, keeps other writers out, and reports a full disk in a sentence."""
    if not len(ids):
        raise UserError(f"no images to put into {path}: data/images.csv is empty; run `dvc repro prepare`")
    if len(twice := Index(ids).repeats()):
        raise UserError(
            f"{len(twice)} image ids occur more than once, such as {some(Chosen(ids, twice))}; "
            "they must be unique"
        )
    try:
        with only_writer(path):
            yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UserError(
            f"no space left in {path.parent}/ or {work_folder()}/ while writing {path.name}: free some and "
            "run `dvc repro` again; what was computed is kept"
        ) from None
