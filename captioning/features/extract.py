"""Making a feature store: every image through an encoder exactly once.

Rows go to the row store in the working folder, a batch at a time; at the end the file is written from it, in order,
and takes the old one's place. So a kill at any moment loses one batch, the bytes do not depend on what was computed
when, and no reader ever sees half a file. Rows are found again by their image's hash, after the stage and its output
are gone, too: a new or changed image is computed, a removed or renamed one costs nothing. (The size
of a batch can change a last digit and is no reason to compute all anew: bytes are equal for equal settings on one
machine; `steady` sees to it that an image's place in a batch, which depends on what there was, cannot.)
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from captioning.core.errors import UserError
from captioning.core.files import only_writer
from captioning.core.pictures import ImageFault
from captioning.core.progress import track
from captioning.features.encode import encode, images_at_once, steady, to_float16
from captioning.features.encoders import Encoder
from captioning.features.jpeg import decoding
from captioning.features.pixels import ImageFiles
from captioning.features.rows import RowStore
from captioning.features.store import some, write_store


@dataclass(frozen=True)
class Written:
    """How many of a store's rows were taken over, and how many made."""

    reused: int
    computed: int


def extract(
    path: str | Path,
    encoder: Encoder,
    ids: Sequence[str],
    paths: Sequence[str],
    sha256s: Sequence[str],
    batch_size: int,
    workers: int,
) -> Written:
    """Brings the store at `path` up to date with a list of images, and prints what it took."""
    started, busy = time.perf_counter(), 0.0
    rule = decoding(encoder.device)

    def compute(needed: list[int]) -> Iterator[np.ndarray]:
        nonlocal busy
        files = ImageFiles([paths[i] for i in needed], encoder.preprocess, [sha256s[i] for i in needed])
        size = steady(encoder, images_at_once(encoder, batch_size))
        encoded = encode(encoder, files, size, workers, engines=bool(rule))
        total = -(-len(needed) // size)
        for features, seconds in track(encoded, f"{Path(path).stem}: encoding", total, f"batch of {size}"):
            busy += seconds
            yield features

    print(f"{path}: {encoder.attributes['encoder']} on {encoder.device}, {encoder.attributes['precision']}", flush=True)
    try:
        written = write_features(path, ids, sha256s, encoder.attributes | rule, encoder.code, compute)
    except ImageFault as fault:
        raise UserError(
            f"{fault}. Restore or remove the file, run `dvc repro -f prepare` and then `dvc repro`; "
            "the features computed so far are kept"
        ) from None
    seconds = time.perf_counter() - started
    line = f"{path}: {len(ids)} images, {written.reused} reused, {written.computed} computed in {seconds:.1f} s"
    if written.computed:
        line += f" ({written.computed / seconds:.1f} images/s, {busy / seconds:.0%} of the time in the network)"
    print(line)
    return written


def write_features(
    path: str | Path,
    ids: Sequence[str],
    sha256s: Sequence[str],
    attrs: dict[str, str],
    code: str,
    compute: Callable[[list[int]], Iterator[np.ndarray]],
) -> Written:
    """Brings a feature file up to date with a list of images, computing what is not there yet.

    Args:
        ids: of all images, in the order that the file shall have.
        sha256s: of the images' bytes, as hexadecimal text.
        attrs: what decides the features beside the image. Rows made under other attributes are not used.
        code: hash of the code that computes features. Rows made by other code are not used; the file does not say it.
        compute: given the positions of the images needed, yields their features in that order, in batches (B, ...)
            of floats. A batch is safe from a kill once the next is asked for.

    Raises:
        UserError: features that are not finite or too large for float16, no space left, twice the same id.
    """
    path = Path(path)
    rows = RowStore(attrs, code)
    with writing(path, ids), rows.writing():
        first = {sha: position for position, sha in reversed(list(enumerate(sha256s)))}  # equal images are one
        needed = sorted(position for sha, position in first.items() if sha not in rows)
        done = 0
        for batch in compute(needed) if needed else ():
            positions = needed[done : done + len(batch)]
            rows.append([sha256s[i] for i in positions], to_float16(batch, [ids[i] for i in positions]))
            done += len(batch)
        if done != len(needed):
            raise ValueError(f"compute gave {done} rows for {len(needed)} images")
        write_store(path, ids, sha256s, attrs, rows.shape, lambda block: rows.read([sha256s[i] for i in block]))
    return Written(reused=len(ids) - len(needed), computed=len(needed))


@contextmanager
def writing(path: Path, ids: Sequence[str]) -> Iterator[None]:
    """Checks the ids, makes the folder, keeps other writers out, and tells a full disk in a sentence."""
    if not ids:
        raise UserError(f"no images to put into {path}: data/images.csv is empty; run `dvc repro prepare`")
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = [image_id for image_id in ids if image_id in seen or seen.add(image_id)]
        raise UserError(f"{len(twice)} image ids occur more than once, such as {some(twice)}; they must be unique")
    try:
        with only_writer(path):
            yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"no space left in {path.parent}/ while writing {path.name}: free some and run `dvc repro` again; "
            "what was computed is kept"
        ) from None
