"""From image files to features: decoding and encoding in parallel.

On a CPU, every core takes a few images from file to features in its own thread. Cores then never wait for
each other, as they would several times in every layer that is split among them. A GPU gets large batches.
While it computes, threads read the files and decode those that its JPEG engines do not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from captioning.core.errors import UserError
from captioning.core.malloc import share_memory_among_threads
from captioning.core.pictures import ImageFault
from captioning.core.threads import in_order
from captioning.features.encoders import Encoder
from captioning.features.jpeg import batches_on
from captioning.features.pixels import AT_ONCE, ImageFiles, one_core_each, pixel_batches

WRONG_WEIGHTS = "check that the weights belong to the network; if they do, set `precision: fp32`"
LARGEST = float(np.finfo(np.float16).max)
MOST_CORES = 16  # VGG16 in float32 takes 0.2 GB on each


def images_at_once(encoder: Encoder, batch_size: int) -> int:
    """The number of images in a pass through the network."""
    return min(batch_size, AT_ONCE) if encoder.device.type == "cpu" else batch_size


def steady(encoder: Encoder, size: int) -> int:
    """Returns a number of images per pass, `size` if possible, with which equal images give equal rows.

    A matrix product may round the last rows of a batch differently from the first ones (MKL does on CPUs with
    only AVX2, in batches of 8). An image's place in the batch depends on what was computed before, so it must
    not affect the row. If neither `size` nor twice it works, each image is encoded alone.
    """
    if encoder.device.type != "cpu":
        return size
    side, tried = encoder.preprocess.image_size, (size, 2 * size)
    image = np.random.default_rng(0).integers(256, size=(1, 3, side, side), dtype=np.uint8)
    with one_core_each() as start:
        start()
        for count in tried:
            rows = encoder(
                torch.from_numpy(image).repeat(count, 1, 1, 1).contiguous(memory_format=torch.channels_last)
            )
            if torch.equal(rows, rows[:1].expand_as(rows)):
                return count
    return 1


def encode(
    encoder: Encoder, files: ImageFiles, size: int, workers: int, engines: bool = False
) -> Iterator[tuple[np.ndarray, float]]:
    """Yields features (B, ...) float32 of all files, in order, `size` at a time, and the network's seconds.

    Every pass has the same number of images; the last one is filled with black images. A network may round
    differently in a smaller batch, and a feature must not depend on the other images.

    Args:
        size: see `images_at_once`.
        workers: threads that decode for a GPU. On a CPU each core decodes its own images.
        engines: see `on_device`.

    Raises:
        ImageFault: at the first unusable image, after the features of all images before it.
    """
    if encoder.device.type == "cpu":
        return on_cores(encoder, files, size)
    return on_device(encoder, files, size, workers, engines)


def on_cores(encoder: Encoder, files: ImageFiles, size: int) -> Iterator[tuple[np.ndarray, float]]:
    """Like `encode`, on the CPU's cores in parallel.

    Results do not depend on the number of cores. The seconds are divided by it.
    """
    cores, side = min(torch.get_num_threads(), MOST_CORES), files.preprocess.image_size
    share_memory_among_threads()

    def work(first: int) -> tuple[np.ndarray, ImageFault | None, float]:
        pixels = np.zeros((size, side, side, 3), np.uint8)
        count, fault = files.read(range(first, min(first + size, len(files))), pixels)
        before = time.perf_counter()
        features = encoder(torch.from_numpy(pixels).permute(0, 3, 1, 2))  # (B, S, S, 3) -> (B, 3, S, S)
        return features[:count].numpy(), fault, (time.perf_counter() - before) / cores

    starts = range(0, len(files), size)
    with one_core_each() as alone:
        for features, fault, seconds in in_order(
            work, starts, cores, 2 * cores, alone, files.paths.__getitem__
        ):
            if len(features):
                yield features, seconds
            if fault:
                raise fault


def on_device(
    encoder: Encoder, files: ImageFiles, size: int, workers: int, engines: bool = False
) -> Iterator[tuple[np.ndarray, float]]:
    """Like `encode`, on a GPU: while the network works on one batch, the next ones are decoded.

    Args:
        engines: decode and resize plain JPEGs on the GPU (see `captioning.features.jpeg`), not in threads.
    """
    if engines:
        batches = batches_on(encoder.device, files, size, workers)
    else:
        batches = pixel_batches(files, size, workers, pin_memory=encoder.device.type == "cuda")
    for batch in batches:
        count, before = len(batch), time.perf_counter()
        if count < size:
            batch = torch.cat([batch, batch.new_zeros(size - count, *batch.shape[1:])])
        features = encoder(batch.contiguous(memory_format=torch.channels_last))[:count].cpu().numpy()
        yield features, time.perf_counter() - before


def to_float16(features: np.ndarray, ids: Sequence[str], remedy: str = WRONG_WEIGHTS) -> np.ndarray:
    """Converts rows to float16 for storage.

    Raises UserError, with the remedy, for the first image whose features do not fit in float16.
    """
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
            f"the features of image {ids[row]} {fault} ({bad.sum()} such in its batch of {len(rows)}): "
            f"{remedy}"
        )
    return rows
