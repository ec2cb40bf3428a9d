"""Image files as batches of pixels: decoded ahead by threads, or all in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from captioning.core.device import fits_on
from captioning.core.pictures import ImageFault, read_content
from captioning.core.progress import track
from captioning.core.threads import in_order
from captioning.features.images import Preprocess, decode

CPU = torch.device("cpu")
AT_ONCE = 8  # images per thread: more leave some threads idle at the end and take more memory per core


@contextmanager
def one_core_each() -> Iterator[Callable[[], None]]:
    """Gives a function for each thread of a pool to run first, so that torch uses one core in it.

    The calling thread keeps its own number of cores, and so do threads started after the block.
    """
    threads = torch.get_num_threads()
    try:
        yield partial(torch.set_num_threads, 1)
    finally:
        torch.set_num_threads(threads)


class ImageFiles:
    """A list of image files and their preprocessing.

    Args:
        sha256s: the hash of each file's bytes; a file with another hash is a fault.
    """

    def __init__(
        self, paths: Sequence[str | Path], preprocess: Preprocess, sha256s: Sequence[str] | None = None
    ) -> None:
        self.paths, self.preprocess, self.sha256s = paths, preprocess, sha256s

    def __len__(self) -> int:
        return len(self.paths)

    def pixels(self, row: int) -> np.ndarray:
        """One image, (S, S, 3) uint8. Raises ImageFault."""
        return decode(self.content(row), self.preprocess, self.paths[row])

    def content(self, row: int) -> bytes:
        """Reads a file's bytes. Raises ImageFault, also if they do not have the expected hash."""
        content = read_content(self.paths[row])
        if self.sha256s is not None and hashlib.sha256(content).hexdigest() != self.sha256s[row]:
            message = f"{self.paths[row]} has changed since stage prepare read it; run `dvc repro -f prepare`"
            raise ImageFault(message, "image file changed")
        return content

    def read(self, rows: Iterable[int], out: np.ndarray) -> tuple[int, ImageFault | None]:
        """Decodes these rows into `out` (B, S, S, 3) until the first fault.

        Returns the number decoded and the fault.
        """
        count = 0
        try:
            for row in rows:
                out[count] = self.pixels(row)
                count += 1
        except ImageFault as fault:
            return count, fault
        return count, None


def pixel_batches(
    files: ImageFiles, batch_size: int = 64, workers: int = 0, pin_memory: bool = False
) -> Iterator[Tensor]:
    """Decodes files, in order, in batches of `batch_size` (the last may be shorter).

    Args:
        workers: threads that decode, up to two batches ahead. 0: decode in the caller's thread.
        pin_memory: put pixels in pinned memory, from which a GPU can copy them itself.

    Yields:
        pixels (B, 3, S, S) uint8, in channels_last memory.

    Raises:
        ImageFault: at the first unusable image, after all images before it have been yielded.
    """
    size = files.preprocess.image_size

    def groups() -> Iterator[tuple[int, Tensor, int]]:
        """Yields groups of a few images: their place in the batch, the batch, and its first row."""
        for first in range(0, len(files), batch_size):
            count = min(batch_size, len(files) - first)
            batch = torch.empty(count, size, size, 3, dtype=torch.uint8, pin_memory=pin_memory)
            for start in range(0, count, AT_ONCE):
                yield start, batch, first

    def read(group: tuple[int, Tensor, int]) -> tuple[Tensor, int, ImageFault | None]:
        start, batch, first = group
        part = batch[start : start + AT_ONCE].numpy()
        count, fault = files.read(range(first + start, first + start + len(part)), part)
        return batch, start + count, fault

    def name(group: tuple[int, Tensor, int]) -> str:
        return files.paths[group[2] + group[0]]

    with one_core_each() as start:
        for batch, done, fault in in_order(
            read, groups(), workers, 2 * -(-batch_size // AT_ONCE), start, name
        ):
            if done == len(batch) or (fault and done):
                yield batch[:done].permute(0, 3, 1, 2)  # (B, S, S, 3) -> (B, 3, S, S)
            if fault:
                raise fault


class PixelStore:
    """All images of a list in memory as bytes, for stages that need each of them many times.

    Args:
        workers: threads that decode.
        max_bytes: if the images take more, nothing is kept, and every batch is decoded again.
        device: where batches go. A GPU keeps the images if they fit (`fits_on`).
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        preprocess: Preprocess,
        workers: int = 0,
        max_bytes: int = 8 * 2**30,
        desc: str = "decoding images",
        device: torch.device = CPU,
    ) -> None:
        self.files, self.workers, self.device = ImageFiles(paths, preprocess), workers, device
        size = preprocess.image_size
        self.nbytes = len(paths) * 3 * size * size
        self.pixels: Tensor | None = None  # (N, S, S, 3) uint8
        if self.nbytes > max_bytes:
            return
        self.pixels = torch.empty(len(paths), size, size, 3, dtype=torch.uint8)
        row, step = 0, 64
        batches = pixel_batches(self.files, step, workers)
        for batch in track(batches, desc, total=-(-len(paths) // step), unit="batch"):
            self.pixels[row : row + len(batch)] = batch.permute(0, 2, 3, 1)  # (B, 3, S, S) -> (B, S, S, 3)
            row += len(batch)
        if fits_on(device, self.nbytes):
            self.pixels = self.pixels.to(device)

    def __len__(self) -> int:
        return len(self.files)

    def batch(self, indices: Sequence[int] | Tensor) -> Tensor:
        """Pixels (B, 3, S, S) uint8, channels_last, of the images at these positions, in this order."""
        return self._lines(indices).to(self.device, non_blocking=True).permute(0, 3, 1, 2)

    def _lines(self, indices: Sequence[int] | Tensor) -> Tensor:
        """(B, S, S, 3), where they are."""
        if self.pixels is not None:
            return self.pixels[torch.as_tensor(indices).to(self.pixels.device, non_blocking=True)]
        rows, name = [int(i) for i in indices], self.files.paths.__getitem__
        with one_core_each() as start:
            decoded = list(in_order(self.files.pixels, rows, self.workers, len(rows), start, name))
        return torch.from_numpy(np.stack(decoded))
