"""Makes a feature store of features computed elsewhere, by any encoder.

The source is an .npz or .h5 file with `ids` and `features`, or the folder of `clip-retrieval inference`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from captioning.core.errors import UserError
from captioning.core.files import fingerprint, sha256_of
from captioning.core.pictures import SUFFIXES
from captioning.core.settings import MachineSettings
from captioning.core.texts import Chosen, Index, Texts, runs
from captioning.features.cluster import extract_on_cluster
from captioning.features.encode import to_float16
from captioning.features.encoders import Encoder
from captioning.features.extract import Written, extract, writing
from captioning.features.foreign import Features, arrays, try_out
from captioning.features.store import some, write_store


def extract_or_import(
    path: str | Path,
    images: Mapping[str, Sequence[str]],
    source: str | Path | None,
    load_encoder: Callable[[], Encoder],
    batch_size: int,
    machine: MachineSettings,
    normalize: bool = False,
) -> Written:
    """Updates the store at `path` for data/images.csv, from the file `source`, if any, or by an encoder.

    The encoder runs in this process, or with `machine.ray` on a cluster.

    Args:
        images: the table, with columns id, path and sha256.
        load_encoder: called only without `source`; with it there may be no checkpoint.
        normalize: scale imported vectors to length 1. An encoder has its own setting.
    """
    ids, paths, sha256s = (images[column] for column in ("id", "path", "sha256"))
    if source:
        return import_features(path, source, ids, sha256s, normalize)
    if machine.ray:
        lists = ids, paths, sha256s
        return extract_on_cluster(path, load_encoder, *lists, batch_size, machine.workers, machine.ray)
    return extract(path, load_encoder(), ids, paths, sha256s, batch_size, machine.threads)


def import_features(
    path: str | Path, source: str | Path, ids: Sequence[str], sha256s: Sequence[str], normalize: bool = False
) -> Written:
    """Copies the features of these images from `source` into the store at `path`.

    Ids match with or without an image suffix (`1000268201_693b08cb0e.jpg`). Other rows of the file are
    ignored.

    Args:
        normalize: scale each feature vector to length 1.

    Raises:
        UserError: a file of another format or shape, missing images, or values that are not finite or too
            large for float16.
    """
    path, source = Path(path), Path(source).expanduser()
    if not source.exists():
        raise UserError(f"clip.features = {source}: there is no such file or folder")
    attrs = {
        "encoder": f"imported from {source.name}",
        "layer": "unknown",
        "weights": f"unknown; sha256 of the file: {_hash(source)}",
        "preprocessing": "unknown",
        "normalization": "l2" if normalize else "as imported",
        "precision": "as imported",
    }
    try_out(source)
    with writing(path, ids), arrays(source) as (names, features):
        _check(source, names, features)
        wanted = _rows(source, names, ids)

        def rows(block: range) -> np.ndarray:
            at = wanted[block.start : block.stop]
            order = np.argsort(at)  # neighbours are read together
            # In float64: the square of a large float32 overflows float32.
            batch = np.empty((len(at), *features.shape[1:]))
            batch[order] = np.concatenate([features[run] for run in runs(at[order])])
            if normalize:
                batch /= np.maximum(np.linalg.norm(batch, axis=-1, keepdims=True), 1e-12)
            return to_float16(batch, ids[block.start : block.stop], remedy=f"mend {source}")

        write_store(path, ids, sha256s, attrs, features.shape[1:], rows)
    shape = " x ".join(map(str, features.shape[1:]))
    print(
        f"{path}: {len(ids)} images, {shape} features each, from {source}; "
        f"{len(names) - len(ids)} more left out"
    )
    return Written(reused=0, computed=len(ids))


def _hash(source: Path) -> str:
    """Hash of a file's bytes, or of all files in a folder."""
    if source.is_file():
        return sha256_of(source)
    files = [path for path in source.rglob("*") if path.is_file()]
    return fingerprint({str(path.relative_to(source)): sha256_of(path) for path in files})


def _check(source: Path, names: Texts, features: Features) -> None:
    if features.ndim not in (2, 4) or len(features) != len(names) or 0 in features.shape:
        raise UserError(
            f"{source}: features of shape {features.shape} for {len(names)} ids; "
            "expected (N, D), or (N, H, W, C) for a grid"
        )
    if features.dtype.kind != "f":
        raise UserError(f"{source}: features are {features.dtype}, expected floats")


def _rows(source: Path, names: Texts, ids: Sequence[str]) -> np.ndarray:
    """Finds each image's row in the file: the same id, or else the only id with another image suffix."""
    index = Index(names)
    if len(twice := index.repeats()):
        raise UserError(f"{source}: id {names[twice[0]]!r} occurs twice")
    rows = index.find(ids)
    others = np.flatnonzero(rows < 0)
    if not len(others):
        return rows
    alike, stems = Index(map(_stem, names)), Texts(map(_stem, Chosen(ids, others)))
    rows[others] = alike.find(stems)
    if len(missing := np.flatnonzero(rows < 0)):
        raise UserError(
            f"{source} has no features of {len(missing)} of {len(ids)} images, such as "
            f"{some(Chosen(ids, missing))}; its own ids look like {some(names)}"
        )
    if (several := alike.counts(stems) > 1).any():
        first = int(several.argmax())
        found = [name for name in names if _stem(name) == stems[first]]
        raise UserError(
            f"{source} has {some(found)} for image {ids[others[first]]}: keep one, or name it as the image"
        )
    found, counts = np.unique(rows, return_counts=True)
    if len(shared := found[counts > 1]):
        images = some(Chosen(ids, np.flatnonzero(rows == shared[0])))
        raise UserError(
            f"{source} has only {names[shared[0]]!r} for the images {images}: name a row after each image"
        )
    return rows


def _stem(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix}".lower() in SUFFIXES else name
