"""The cost of training input by number of images: rows/s and bytes, in memory and from disk. Made-up rows.

    python -m benchmarks.scale [--images 100000 1000000] [--width 512] [--tiny]

Each figure comes from a process of its own. For `disk`, the system's cache of the file is dropped before each
epoch, so it measures the disk. Memory is what the process added, at its peak. Each image has one caption,
like pictures from the web. Then come the parts of a training stage with five captions per image
(`benchmarks.scale_tables`), and the overheads of Ray, if it is installed, and of two training processes. A
million images take minutes, and up to 3 GB of memory and of disk.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import scale_ddp, scale_ray, scale_tables
from benchmarks.turns import Run, in_turn, resident, working_in
from captioning.core.errors import command
from captioning.core.malloc import keep_freed_memory
from captioning.features.store import FeatureStore, write_store
from captioning.training.batches import CaptionBatches
from captioning.training.streams import BLOCK_BYTES, WINDOW_BYTES, StreamedBatches
from models.packed_trees import Trees
from models.packing import AT_ONCE

BATCH, VOCABULARY, PREFIX = 64, 1000, 10
HEAD = """\
| images | input | open and read | pack | an epoch's batches | processor time of these | memory |
| --- | --- | --- | --- | --- | --- | --- |"""


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--images", type=int, nargs="+", default=[10**5, 10**6], help="(default 100000 1000000)"
    )
    parser.add_argument("--width", type=int, default=512, help="numbers a row (default 512)")
    parser.add_argument(
        "--tiny", action="store_true", help="2,000 images of 16 numbers, to see that everything runs"
    )
    given = parser.parse_args()
    print(HEAD, flush=True)
    sizes = [2000] if given.tiny else given.images
    for images in sizes:
        for line in input_rows(images, 16 if given.tiny else given.width):
            print(line, flush=True)
    for images in sizes:
        print("", *scale_tables.rows(images), sep="\n", flush=True)
    for more in (scale_ray, scale_ddp):
        print("", *more.rows(given.tiny), sep="\n", flush=True)


def input_rows(images: int, width: int) -> Iterator[str]:
    """Lines of the table: rows/s of each part, and the memory that the process added."""
    with tempfile.TemporaryDirectory() as folder, working_in(folder):
        path = Path(folder) / "features.h5"
        write_rows(path, images, width)
        found = in_turn({"memory": memory, "disk": disk}, {"path": str(path)}, rounds=1)
    for name, side in found.items():
        rates = " | ".join(f"{images / seconds:,.0f} rows/s" for seconds in side.results[0]["parts"])
        busy, gained = side.results[0]["busy"] / images * 1e6, side.results[0]["gained"] / 2**20
        yield f"| {images:,} | {name} | {rates} | {busy:.1f} us a row | {gained:,.0f} MB |"


def memory(sizes: dict[str, Any]) -> Run:
    def make(store: FeatureStore, lap: Callable[[], None]) -> CaptionBatches:
        features = store.load(store.ids)
        lap()
        captions = [of_image for part in captions_of(len(features)) for of_image in part]
        return CaptionBatches(features, captions, BATCH, 0, torch.device("cpu"), trees)

    return _timed(sizes, make)


def disk(sizes: dict[str, Any]) -> Run:
    def make(store: FeatureStore, lap: Callable[[], None]) -> CaptionBatches:
        rows = store.rows(store.ids)
        lap()
        return StreamedBatches(store, rows, captions_of(len(rows)), BATCH, 0, torch.device("cpu"), trees)

    return _timed(sizes, make)


def _timed(sizes: dict[str, Any], make: Callable[[FeatureStore, Callable[[], None]], CaptionBatches]) -> Run:
    keep_freed_memory()  # as every stage
    path = Path(sizes["path"])

    def run(turn: int) -> dict[str, Any]:
        before, times = resident(), [time.perf_counter()]

        def lap() -> None:
            times.append(time.perf_counter())

        batches = make(FeatureStore.open(path), lap)
        lap()
        drop_cache(path)
        busy = time.process_time()
        for _ in batches.epoch(turn):
            pass
        lap()
        busy = time.process_time() - busy
        return {"parts": np.diff(times).tolist(), "busy": busy, "gained": resident("VmHWM") - before}

    return run


def streamed(path: Path, window: int = WINDOW_BYTES, block: int = BLOCK_BYTES) -> StreamedBatches:
    """Batches from disk of all images of a store, with made-up captions."""
    store = FeatureStore.open(path)
    captions, rows = captions_of(len(store)), store.rows(store.ids)
    return StreamedBatches(
        store, rows, captions, BATCH, 0, torch.device("cpu"), trees, window=window, block=block
    )


def trees(captions: np.ndarray, _: bool) -> Trees:
    return Trees(captions, PREFIX)


def captions_of(images: int) -> Iterator[list[list[list[int]]]]:
    """A caption of 8 to 20 made-up tokens for each image, in parts."""
    rng = np.random.default_rng(0)
    for start in range(0, images, AT_ONCE):
        count = min(AT_ONCE, images - start)
        tokens, ends = rng.integers(1, VOCABULARY, (count, 20)).tolist(), rng.integers(8, 21, count).tolist()
        yield [[caption[:end]] for caption, end in zip(tokens, ends, strict=True)]


def write_rows(
    path: Path, images: int, width: int, rows: Callable[[range], np.ndarray] | None = None
) -> None:
    """Writes a feature store of made-up rows; random ones by default."""
    rng = np.random.default_rng(0)

    def random(block: range) -> np.ndarray:
        return rng.standard_normal((len(block), width), np.float32).astype(np.float16)

    ids = [f"{i:09d}" for i in range(images)]
    write_store(path, ids, ["0" * 64] * images, {"encoder": "random"}, (width,), rows or random)


def drop_cache(path: Path) -> None:
    """Makes the system forget what it has cached of a file, where it can."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
