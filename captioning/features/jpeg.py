"""Decodes, resizes and crops plain JPEGs on an NVIDIA GPU, with its JPEG engines.

A CPU core takes milliseconds to decode a photograph, and a GPU's network takes a tenth of one. With threads
that decode, the GPU would be idle most of the time. A file's bytes determine its decoder (`Plain.of`), and
the feature store records this rule as an attribute. The engines' pixels differ from libjpeg's by some levels
at the edges of colours, and resizing uses floats here; `benchmarks.gpu` measures the effect.
"""

from __future__ import annotations

import io
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from captioning.core.pictures import ImageFault
from captioning.core.threads import in_order
from captioning.features.images import LONGEST_RATIO, Preprocess, decode, resize_and_crop
from captioning.features.pixels import AT_ONCE, ImageFiles, one_core_each

RULE = "baseline JPEGs by nvJPEG, resized in floats; others as on a processor"
PIXELS_AT_ONCE = 2**25  # pixels decoded together: 100 MB as bytes, 400 MB as floats
# Times a side may shrink: at 47, the GPU's bicubic filter no longer fits in the memory of a block of threads.
MOST_REDUCED = 40
# Seconds per picture of TRIAL's size, by engines. nvJPEG's software, which decodes where a driver has no
# engines, takes longer; several threads are faster.
ENGINES, TRIAL = 3e-4, (512, 384)

# Parts of a JPEG file (ITU-T T.81, table B.1): its first and last bytes, and the markers of segments.
START, END = b"\xff\xd8", b"\xff\xd9"
BASELINE, SCAN, APP1, APP2, APP14 = 0xC0, 0xDA, 0xE1, 0xE2, 0xEE
OTHERS = (0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0))  # tables, restarts, comments, application data
LUMA = (0x11, 0x21, 0x22)  # luma sampling with both chromas at 0x11: 4:4:4, 4:2:2, 4:2:0


def decoding(device: torch.device) -> dict[str, str]:
    """The feature store's attribute for this rule; empty if all files are decoded as on a CPU."""
    return {"decoding": RULE} if device.type == "cuda" and _has_engines() else {}


@cache
def _has_engines() -> bool:
    """Whether this GPU has JPEG engines that this torchvision uses; if not, prints why."""
    noise, file = np.random.default_rng(0).integers(256, size=(12, 16, 3), dtype=np.uint8), io.BytesIO()
    picture = Image.fromarray(noise).resize(TRIAL, Image.Resampling.BICUBIC)
    picture.paste("white", (0, 0, 64, 64))
    picture.save(file, "JPEG")
    plain, device = [Plain.of(file.getvalue())] * 64, torch.device("cuda")
    try:
        tried = [_timed(plain, device) for _ in range(4)]
    except (ImportError, RuntimeError) as error:
        fault = str(error).splitlines()[0]
    else:
        seconds = min(each for each, _ in tried) / len(plain)
        if not all((pixels[:, :32, :32] == 255).all() for _, pixels in tried):
            fault = "what is white does not come out white"
        elif seconds > ENGINES:
            fault = f"it takes {1000 * seconds:.2f} ms for {TRIAL[0]} x {TRIAL[1]} pixels, as without engines"
        else:
            return True
    print(f"JPEGs are decoded by threads, not by the GPU: {fault}", flush=True)
    return False


def _timed(files: list[Plain], device: torch.device) -> tuple[float, Tensor]:
    """Seconds to decode all files, and the first one's pixels (3, H, W)."""
    start = time.perf_counter()
    first = _unpack(files, device)[0]
    torch.cuda.synchronize(device)
    return time.perf_counter() - start, first


class Plain(NamedTuple):
    """A JPEG that all decoders read alike: baseline, 8 bits, YCbCr, upright, not gigantic, with an end.

    The engines read no progressive files. nvJPEG would decode them one after the other in a single thread.
    """

    content: bytes
    height: int
    width: int

    @property
    def pixels(self) -> int:
        return self.height * self.width

    def is_reducible(self, preprocess: Preprocess) -> bool:
        """Whether a GPU can resize it in one go."""
        side = min(self.height, self.width) if preprocess.resize else max(self.height, self.width)
        return side <= MOST_REDUCED * (preprocess.resize or preprocess.image_size)

    @classmethod
    def of(cls, content: bytes) -> Plain | None:
        """Parses a file's bytes. Returns None for other formats and for JPEGs that are unusual in any way."""
        at, frame = len(START), None
        while content.startswith(START) and content[at : at + 1] == b"\xff" and at + 4 <= len(content):
            marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
            body = content[at + 4 : at + 2 + length]
            if marker == SCAN:
                whole = frame and content.rfind(END) > at
                return cls(content, *frame) if whole else None
            if marker == BASELINE and not frame:
                frame = _size(body)
            elif marker not in OTHERS or length < 2 or _is_unusual(marker, body):
                return None
            at += 2 + length
        return None


def _size(frame: bytes) -> tuple[int, int] | None:
    """Height and width by a frame header (T.81, B.2.2).

    None if depth, colours, sampling or size are unusual.
    """
    if len(frame) != 15 or frame[0] != 8 or frame[5] != 3:
        return None
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    names, samplings = frame[6::3], frame[7::3]
    usual = names != b"RGB" and samplings[0] in LUMA and samplings[1:] == b"\x11\x11"
    fits = max(height, width) <= LONGEST_RATIO * min(height, width) and height * width <= PIXELS_AT_ONCE
    return (height, width) if usual and fits and height and width else None


def _is_unusual(marker: int, body: bytes) -> bool:
    """Whether a segment may mean an orientation other than upright, several pictures, or other colours."""
    if marker == APP1 and body.startswith(b"Exif"):
        try:
            exif = Image.Exif()
            exif.load(body)
            return exif.get(ExifTags.Base.Orientation, 1) not in (0, 1)
        except Exception:  # broken data: Pillow decides how to read the file
            return True
    return (
        (marker == APP1 and b"tiff:Orientation" in body)
        or (marker == APP2 and body.startswith(b"MPF"))
        or (marker == APP14 and body.startswith(b"Adobe") and body[11:12] != b"\x01")
    )


def batches_on(device: torch.device, files: ImageFiles, batch_size: int, workers: int) -> Iterator[Tensor]:
    """Like `captioning.features.pixels.pixel_batches`, with pixels on the device.

    Args:
        workers: threads that read files and decode those that are not plain. One more thread feeds the
            device, a batch ahead. 0: the caller's thread does everything.
    """
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # separate from the network's

    def read(rows: range) -> list[Plain | np.ndarray | ImageFault]:
        """Reads some files: plain JPEGs as bytes, others as pixels. A fault ends the list."""
        found: list[Plain | np.ndarray | ImageFault] = []
        try:
            for row in rows:
                content, name = files.content(row), files.paths[row]
                plain = Plain.of(content)
                by_device = plain and plain.is_reducible(files.preprocess)
                found.append(plain if by_device else decode(content, files.preprocess, name))
        except ImageFault as fault:
            found.append(fault)
        return found

    def batches() -> Iterator[tuple[int, list[Plain | np.ndarray | ImageFault]]]:
        """Yields a batch's first row and its files; a fault ends the batch early and is its last element."""
        firsts, batch = range(0, len(files), batch_size), []
        ends = [min(first + batch_size, len(files)) for first in firsts]
        parts = [
            range(start, min(start + AT_ONCE, end))
            for first, end in zip(firsts, ends, strict=True)
            for start in range(first, end, AT_ONCE)
        ]
        found = in_order(
            read, parts, workers, 2 * -(-batch_size // AT_ONCE), alone, lambda rows: files.paths[rows[0]]
        )
        for rows, images in zip(parts, found, strict=False):
            batch += images
            if rows.stop in ends or isinstance(batch[-1], ImageFault):
                yield rows.start // batch_size * batch_size, batch
                batch = []

    def load(batch: tuple[int, list[Plain | np.ndarray | ImageFault]]) -> tuple[Tensor, ImageFault | None]:
        first, images = batch
        fault = images.pop() if isinstance(images[-1], ImageFault) else None
        with torch.cuda.stream(stream) if stream else nullcontext():
            pixels = unpack(images, files.preprocess, device, files.paths[first : first + len(images)])
            if stream:
                stream.synchronize()
        return pixels, fault

    with one_core_each() as alone:
        for pixels, fault in in_order(
            load, batches(), min(workers, 1), 1, alone, lambda batch: files.paths[batch[0]]
        ):
            if len(pixels):
                if stream:
                    pixels.record_stream(torch.cuda.current_stream(device))
                yield pixels
            if fault:
                raise fault


def unpack(
    images: Sequence[Plain | np.ndarray], preprocess: Preprocess, device: torch.device, names: Sequence[str]
) -> Tensor:
    """Decodes plain JPEGs and adds pixels (S, S, 3): (B, 3, S, S) uint8, channels_last, on the device.

    Raises ImageFault, with the file's name, if neither the engine nor Pillow can read a JPEG.
    """
    side = preprocess.image_size
    out = torch.empty(len(images), side, side, 3, dtype=torch.uint8, device=device).permute(0, 3, 1, 2)
    ready = [i for i, image in enumerate(images) if not isinstance(image, Plain)]
    images = list(images)
    for part in _parts(images):
        unpacked = _unpack_each([images[i] for i in part], device)
        of_size = defaultdict(list)
        for i, image in zip(part, unpacked, strict=True):
            if image is None:
                images[i] = decode(images[i].content, preprocess, names[i])
                ready.append(i)
            else:
                of_size[image.shape].append((i, image))
        if of_size:  # few operations for each size: a batch of photographs has many
            resized = [
                resize_and_crop(torch.stack([image for _, image in same]).float(), preprocess)
                for same in of_size.values()
            ]  # (b, 3, S, S) each
            rows = [i for same in of_size.values() for i, _ in same]
            out[rows] = torch.cat(resized).round().clamp(0, 255).byte()
    if ready:
        decoded = torch.from_numpy(np.stack([images[i] for i in ready]))  # (B, S, S, 3)
        out[ready] = decoded.to(device).permute(0, 3, 1, 2)
    return out


def _parts(images: Sequence[Plain | np.ndarray]) -> Iterator[list[int]]:
    """Yields positions of plain files that are decoded together."""
    part, pixels = [], 0
    for i, image in enumerate(images):
        if isinstance(image, Plain):
            if part and pixels + image.pixels > PIXELS_AT_ONCE:
                yield part
                part, pixels = [], 0
            part.append(i)
            pixels += image.pixels
    if part:
        yield part


def _unpack_each(files: Sequence[Plain], device: torch.device) -> list[Tensor | None]:
    """Images (3, H, W) uint8 on the device; None for each file that the engine cannot decode."""
    try:
        return _unpack(files, device)
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise  # not the file's fault
    except RuntimeError:
        if len(files) == 1:
            return [None]
        return [image for one in files for image in _unpack_each([one], device)]


def _unpack(files: Sequence[Plain], device: torch.device) -> list[Tensor]:
    from torchvision.io import decode_jpeg  # takes seconds to import

    if device.type == "cuda":  # it decodes on a stream of its own into memory that ours may still read
        torch.cuda.current_stream(device).synchronize()
    return decode_jpeg(
        [torch.frombuffer(bytearray(one.content), dtype=torch.uint8) for one in files], "RGB", device
    )
