"""Batches of a split that does not fit in memory: features stay in their store, packed captions in a file.

An epoch goes through the images window by window. A window is made of blocks of consecutive images; each
epoch draws the blocks in a new order. A window's images are shuffled and sorted like a whole epoch in memory.
One thread reads the next window while batches are made of the current one, so at most three windows are in
memory. The order depends only on the seed and the epoch's number. Each image keeps 28 bytes in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from captioning.core.texts import Bytes, runs
from captioning.core.threads import in_order
from captioning.features.store import FeatureStore
from captioning.training.batches import CHUNK, SEEN, Buckets, CaptionBatches, padded
from models.losses import PAD
from models.packing import Column, Packing
from models.standardize import ROWS

# Bytes; a larger split is read from disk. It decides an epoch's order, so it is a fixed number.
IN_MEMORY = 8 * 2**30
# Bytes of features that are shuffled together, and that are read together.
WINDOW_BYTES, BLOCK_BYTES = 128 * 2**20, 2**20
WINDOW_CAPTIONS = 64 * 2**20  # most bytes of packed captions in a window, in case features are few
OF_CAPTION, OF_CHARACTER = 200, 10  # bytes of a caption in memory: its lists, arrays and packing


class StreamedBatches(CaptionBatches):
    """Like `CaptionBatches`, for any number of images.

    Args:
        store: the feature store.
        rows: (N,) the rows of the images in the store.
        captions: the token ids of the captions of all images, in parts of any number of images.
        window, block: bytes of features that are shuffled together, and that are read together. A window's
            captions have a limit, too.
        The other arguments are those of `CaptionBatches`; a packing is required.
    """

    def __init__(
        self,
        store: FeatureStore,
        rows: np.ndarray,
        captions: Iterable[list[list[list[int]]]],
        batch_size: int,
        seed: int,
        device: torch.device,
        packing: Callable[[np.ndarray, bool], Packing],
        few_sizes: bool | None = None,
        window: int = WINDOW_BYTES,
        block: int = BLOCK_BYTES,
    ) -> None:
        self.store, self.positions, self.count = store, rows, len(rows)
        self.batch_size, self.seed, self.device = batch_size, seed, device
        few_sizes = device.type == "cuda" if few_sizes is None else few_sizes
        self.totals, self.packing, self.columns = _write(captions, packing, few_sizes)
        features = 2 * int(np.prod(store.shape[1:]))
        packed = -(-sum(len(column.bytes) for column in self.columns) // self.count)
        self.images_in_block = max(1, block // features)
        self.images_in_window = max(1, min(window // features, WINDOW_CAPTIONS // packed))
        self.window: _Window | None = None
        self.buckets = self._buckets() if few_sizes else None

    @property
    def features(self) -> Iterable[Tensor]:
        """The features of all images in parts, float16; may be iterated over again."""
        step = self.images_in_window // ROWS * ROWS or self.images_in_window  # sums then round as in memory
        return _Parts(self.store, self.positions, step)

    def order(self, number: int, batch_size: int) -> Iterator[np.ndarray]:
        """Yields the image positions of an epoch's batches, for any batch size; reads ahead for `take`."""

        def read(planned: tuple[np.ndarray, list[np.ndarray]]) -> tuple[_Window, list[np.ndarray]]:
            return self._read(planned[0]), planned[1]

        plan = self._plan(number, batch_size)
        for window, batches in in_order(read, plan, threads=1, ahead=1, name=lambda _: str(self.store.path)):
            self.window = window
            del window  # no third one while the next is read
            yield from batches
        self.window = None

    def in_order(self) -> Iterator[tuple[Tensor, Any]]:
        """Yields all images once, in the given order: for scores, not for training."""
        step = max(1, self.images_in_window // self.batch_size) * self.batch_size
        for start in range(0, self.count, step):
            self.window = self._read(np.arange(start, min(start + step, self.count)))
            for index in np.split(
                self.window.images, range(self.batch_size, len(self.window.images), self.batch_size)
            ):
                yield self.take(index)
        self.window = None

    def take(self, index: np.ndarray, buckets: Buckets | None = None) -> tuple[Tensor, Any]:
        """Like `CaptionBatches.take`. It is fast for the batch that `order` yielded last."""
        window = self.window
        if window is None or (places := window.places(index)) is None:
            window = self._read(np.unique(index))
            places = window.places(index)
        features = window.features[torch.from_numpy(places)].to(self.device, non_blocking=True).float()
        return features, self._packed(window.packing, places, buckets)

    def _plan(self, number: int, batch_size: int) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        """Yields the images of each window of an epoch, sorted, and its batches."""
        rng = np.random.default_rng([self.seed, number])
        for images in self._windows(rng, batch_size * CHUNK):
            yield images, list(self._batches(rng.permutation(images), rng, batch_size))

    def _windows(self, rng: np.random.Generator, multiple: int) -> Iterator[np.ndarray]:
        """Cuts the shuffled blocks into windows, each of a multiple of `multiple` images."""
        count, most = self.count, max(1, self.images_in_window // multiple) * multiple
        starts = np.arange(0, count, self.images_in_block)
        parts, room = [], most
        for start in rng.permutation(starts) if count > most else starts:
            stop = min(start + self.images_in_block, count)
            while start < stop:
                end = min(stop, start + room)
                parts.append(np.arange(start, end))
                start, room = end, room - (end - start)
                if not room:
                    yield np.sort(np.concatenate(parts))
                    parts, room = [], most
        if parts:
            yield np.sort(np.concatenate(parts))

    def _read(self, images: np.ndarray, features: bool = True) -> _Window:
        packing = self.packing.with_columns([column.read(images) for column in self.columns])
        rows = self.positions[images] if features else self.positions[:0]
        return _Window(images, torch.from_numpy(self.store.read(rows)), packing)

    def _buckets(self) -> Buckets | None:
        """Chooses the sizes from the first epochs' first window. A batch of another size is not padded."""
        sizes, largest = [], []
        for epoch in range(SEEN):
            images, batches = next(self._plan(epoch, self.batch_size))
            window = self._read(images, features=False)
            sizes += [
                window.packing.size(window.places(index))
                for index in batches
                if len(index) == self.batch_size
            ]
            largest.append(window.packing.largest(self.batch_size))
        return Buckets(sizes, np.max(largest, axis=0).tolist(), self.packing.work) if sizes else None


class _Window(NamedTuple):
    images: np.ndarray  # (n,) sorted
    features: Tensor  # (n, ...) float16
    packing: Packing

    def places(self, index: np.ndarray) -> np.ndarray | None:
        """The places of these images in the window; None if one is not in it."""
        found = np.searchsorted(self.images, index).clip(max=len(self.images) - 1)
        return found if np.array_equal(self.images[found], index) else None


@dataclass(frozen=True)
class _Parts:
    """The features of these rows, read part by part."""

    store: FeatureStore
    rows: np.ndarray
    step: int

    def __iter__(self) -> Iterator[Tensor]:
        for start in range(0, len(self.rows), self.step):
            yield torch.from_numpy(self.store.read(self.rows[start : start + self.step]))


class _Column:
    """Records of images, on disk if they are many."""

    def __init__(self) -> None:
        self.bytes, self.width, self.counts = Bytes(), 1, []  # of the records of each image, in parts

    def append(self, records: np.ndarray, counts: np.ndarray) -> None:
        self.width = records.shape[1]
        self.bytes.append(np.ascontiguousarray(records, np.int32).tobytes())
        self.counts.append(counts)

    @cached_property
    def ends(self) -> np.ndarray:
        """(N + 1,) where the records of each image end."""
        return np.concatenate([[0], *self.counts]).cumsum()

    def read(self, images: np.ndarray) -> Column:
        """The records of these images, which are sorted; neighbours are read together."""
        counts = self.ends[images + 1] - self.ends[images]
        out, done = np.empty((counts.sum(), self.width), np.int32), 0
        for run in runs(images):
            start, stop = int(self.ends[run.start]), int(self.ends[run.stop])
            if start < stop:
                rows = memoryview(out[done : done + stop - start]).cast("B")
                self.bytes.read_into(rows, start * self.width * 4)
            done += stop - start
        return out, counts


def fits_in_memory(store: FeatureStore, captions: Sequence[list[str]]) -> bool:
    """Whether the features and captions of this many images take no more than IN_MEMORY."""
    texts = (OF_CAPTION + OF_CHARACTER * len(caption) for of_image in captions for caption in of_image)
    taken = accumulate(texts, initial=len(captions) * 2 * int(np.prod(store.shape[1:])))
    return all(size <= IN_MEMORY for size in taken)  # the first captions of a huge split decide


def _write(
    captions: Iterable[list[list[list[int]]]], packing: Callable[[np.ndarray, bool], Packing], few_sizes: bool
) -> tuple[np.ndarray, Packing, list[_Column]]:
    """Packs captions part by part. Returns tokens per image (N,), a packing of few images, the columns."""
    totals, columns, packed = [], [_Column(), _Column()], None
    for part in captions:
        tokens = padded(part)
        totals.append((tokens != PAD).sum((1, 2), dtype=np.int32))
        packed = packing(tokens, few_sizes)
        for column, (records, counts) in zip(columns, packed.columns(), strict=True):
            column.append(records, counts)
    return np.concatenate(totals), packed, columns
