"""From image files to features, with decoding beside the network or behind it.

On a processor every core takes a few images all the way, file to features, in a thread of its own: no core waits for
another, as they do several times in every layer that is split among them, and nothing else competes for them. A GPU
gets large batches, decoded by threads while it computes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch

from captioning.core.errors import UserError
from captioning.core.malloc import share_memory_among_threads
from captioning.core.pictures import ImageFault
from captioning.core.threads import in_order
from captioning.features.encoders import Encoder
from captioning.features.pixels import AT_ONCE, ImageFiles, pixel_batches

WRONG_WEIGHTS = "are these the network's right weights? If so, try `precision: fp32`"
LARGEST = float(np.finfo(np.float16).max)
MOST_CORES = 16  # VGG16 in float32 takes .2 GB on each


def images_at_once(encoder: Encoder, batch_size: int) -> int:
    """Images that go through the network together."""
    return min(batch_size, AT_ONCE) if encoder.device.type == "cpu" else batch_size


def encode(encoder: Encoder, files: ImageFiles, batch_size: int, workers: int) -> Iterator[tuple[np.ndarray, float]]:
    """Features of all files, in order, `images_at_once` at a time: (B, ...) float32, and seconds that the network took.

    Every pass through the network has as many images, the last one filled up with black: a network may round
    differently in a smaller one, and a feature shall not depend on what else was computed with it.

    Args:
        batch_size: images at once on a GPU; on a processor, at most.
        workers: threads that decode for a GPU; a processor's cores decode what they encode.

    Raises:
        ImageFault: at the first file that is no usable image, after the features of all before it.
    """
    size = images_at_once(encoder, batch_size)
    return on_cores(encoder, files, size) if encoder.device.type == "cpu" else on_device(encoder, files, size, workers)


def on_cores(encoder: Encoder, files: ImageFiles, size: int) -> Iterator[tuple[np.ndarray, float]]:
    """As `encode`, each core by itself; results do not depend on the number of cores. Seconds are divided by it."""
    threads, side = torch.get_num_threads(), files.preprocess.image_size
    cores = min(threads, MOST_CORES)
    share_memory_among_threads()

    def work(first: int) -> tuple[np.ndarray, ImageFault | None, float]:
        pixels = np.zeros((size, side, side, 3), np.uint8)
        count, fault = files.read(range(first, min(first + size, len(files))), pixels)
        before = time.perf_counter()
        features = encoder(torch.from_numpy(pixels).permute(0, 3, 1, 2))  # (B, S, S, 3) -> (B, 3, S, S)
        return features[:count].numpy(), fault, (time.perf_counter() - before) / cores

    try:
        starts, alone = range(0, len(files), size), partial(torch.set_num_threads, 1)
        for features, fault, seconds in in_order(work, starts, cores, 2 * cores, alone, files.paths.__getitem__):
            if len(features):
                yield features, seconds
            if fault:
                raise fault
    finally:
        torch.set_num_threads(threads)  # what new threads take over; this one still has it


def on_device(encoder: Encoder, files: ImageFiles, size: int, workers: int) -> Iterator[tuple[np.ndarray, float]]:
    """As `encode`: while the network works on one batch, threads decode those after it."""
    for batch in pixel_batches(files, size, workers, pin_memory=encoder.device.type == "cuda"):
        count, before = len(batch), time.perf_counter()
        if count < size:
            batch = torch.cat([batch, batch.new_zeros(size - count, *batch.shape[1:])])
        features = encoder(batch.contiguous(memory_format=torch.channels_last))[:count].cpu().numpy()
        yield features, time.perf_counter() - before


def to_float16(features: np.ndarray, ids: Sequence[str], remedy: str = WRONG_WEIGHTS) -> np.ndarray:
    """Rows as they are stored. UserError naming the first image whose features float16 cannot hold, and the remedy."""
    features = np.asarray(features)
    with np.errstate(over="ignore", invalid="ignore"):
        rows = features.astype(np.float16)
    bad = ~np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        if np.isfinite(features[row]).all():
            fault = f"reach {np.abs(features[row]).max():.3g}, and float16 holds no more than {LARGEST:.0f}"
        else:
            fault = "are not finite (NaN or infinite)"
        raise UserError(
            f"the features of image {ids[row]} {fault} ({bad.sum()} such in its batch of {len(rows)}): {remedy}"
        )
    return rows
