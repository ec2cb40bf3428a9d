"""Reads a picture file as upright RGB. This is the one place that decides what a usable picture is.

Pictures look as people see them: EXIF orientation is applied, transparent parts are white, and palettes, CMYK
and deep greys become RGB.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from captioning.core.errors import UserError

# None of them runs another program, as EPS does.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")  # of their files, usually
MAX_PIXELS = 100_000_000  # files with more are refused: a few bytes could unpack to 300 MB
MAX_BYTES = 2**30  # most bytes of a file: MAX_PIXELS in the deepest format
WHITES = (1, 255, 65_535, 2**32 - 1)  # possible levels of white in a file that does not define it

# Warnings of odd metadata do not matter here. This holds for all threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


class ImageFault(UserError):
    """A file that is not a usable image. The message names the file and the fault.

    Attributes:
        reason: the fault alone, in the same words for all files, so that files can be counted by it.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def open_rgb(source: str | Path | bytes, name: str = "", enough: int | None = None) -> Image.Image:
    """An image file, or its bytes, as an upright RGB image. Raises ImageFault for any fault.

    Args:
        enough: a JPEG may be decoded at a half, a quarter or an eighth if its shorter side keeps this many
            pixels.
    """
    name = name or str(source if not isinstance(source, bytes) else "image")
    try:
        image = _parse(source if isinstance(source, bytes) else read_content(source), name)
        if enough:
            _shrink(image, enough)
        return _to_rgb(image)
    except ImageFault:
        raise
    except Exception as error:  # decoders raise almost anything on damaged or hostile files
        fault = " ".join(str(error).split()) or type(error).__name__
        raise ImageFault(f"{name} is not a usable image: {fault}", "image damaged or cut short") from None


def read_content(path: str | Path) -> bytes:
    """The bytes of a regular file. Pipes and devices are refused: reading them may never end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return _read(descriptor, path)
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        raise ImageFault(f"{path} does not exist", "image file missing") from None
    except OSError as error:
        if not os.path.isfile(path) and os.path.exists(path):  # a folder or a socket cannot be opened
            raise ImageFault(f"{path} is not a regular file", "not a regular file") from None
        raise ImageFault(f"{path} cannot be read: {error.strerror}", "image file unreadable") from None


def _read(descriptor: int, path: str | Path) -> bytes:
    """An open file's bytes, as many as it has now. Few calls: each lets other threads go first."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise ImageFault(f"{path} is not a regular file", "not a regular file")
    if status.st_size > MAX_BYTES:
        raise ImageFault(f"{path} is larger than the {MAX_BYTES:,} bytes allowed", "image file too large")
    content = os.read(descriptor, status.st_size)
    while more := os.read(descriptor, status.st_size - len(content)):  # some file systems read in parts
        content += more
    return content


def _parse(content: bytes, name: str) -> Image.Image:
    if not content:
        raise ImageFault(f"{name} is empty", "image file empty")
    too_many = f"image of more than {MAX_PIXELS // 10**6} million pixels"
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.UnidentifiedImageError:
        known = ", ".join(FORMATS)
        raise ImageFault(
            f"{name} is not an image of a known format ({known})", "not of a known format"
        ) from None
    except Image.DecompressionBombError:
        raise ImageFault(f"{name} has more than the {MAX_PIXELS:,} pixels allowed", too_many) from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageFault(
            f"{name} has {width} x {height} pixels, more than the {MAX_PIXELS:,} allowed", too_many
        )
    image.decodermaxblock = len(content)  # one call of the decoder, not one for every 64 KB
    return image


def _shrink(image: Image.Image, enough: int) -> None:
    """Lets the JPEG decoder do the first part of a resize (DCT scaling). Other formats are unchanged."""
    width, height = image.size
    # Only if the size divides evenly: a partial pixel at the edge would shift the rest.
    for scale in (8, 4, 2):
        if min(image.size) >= scale * enough and width % scale == 0 and height % scale == 0:
            image.draft("RGB", (width // scale, height // scale))
            return


def _to_rgb(image: Image.Image) -> Image.Image:
    image.load()
    tags = getattr(image, "tag_v2", {})  # a TIFF's tags; rotation drops them
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)
    except Exception:  # broken EXIF data does not make a picture unusable
        turned = False
    if turned:
        image = ImageOps.exif_transpose(image)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode[0] in "IF":  # deep greys, which Pillow would clip to white
        return Image.fromarray(_grey_levels(image, tags), "L").convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _grey_levels(image: Image.Image, tags: Mapping) -> np.ndarray:
    """Deep greys (H, W) as bytes.

    Files of up to 16 bits define white; for others it is the next usual maximum.
    """
    values = np.asarray(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and not tags):
        bits = tags.get(258, (16,))[0]  # a TIFF may have 12; PNG and PPM are read as 16
        low, white = 0.0, 2.0**bits - 1
    else:
        if image.mode == "I" and tags.get(339, (1,))[0] == 1:
            values = values.view(np.uint32)  # Pillow reads whole numbers without a sign as if they had one
        values = np.where(np.isfinite(values), values, 0).astype(np.float64)
        low, white = min(0.0, values.min()), values.max()
        if low == 0:
            usual = WHITES if image.mode == "F" else WHITES[1:]
            white = next((known for known in usual if white <= known), white)
    levels = (values.astype(np.float64) - low) * (255 / max(white - low, np.finfo(np.float64).tiny))
    return levels.round().clip(0, 255).astype(np.uint8)


def as_rgb(image: Image.Image, name: str) -> Image.Image:
    """An open image in the form that `open_rgb` returns, without shrinking. Raises ImageFault."""
    try:
        return _to_rgb(image)
    except Exception as error:  # Pillow may read the file only now
        raise ImageFault(f"{name} is not a usable image: {error}", "image damaged or cut short") from None
