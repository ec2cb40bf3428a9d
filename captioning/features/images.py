"""An image file to what a network sees: opening, and the encoders' own resizing and cropping.

Pixels travel as bytes, (B, 3, S, S) uint8, a quarter of what floats take; `Preprocess.normalize` turns them into what a
network wants, on its device. For an upright RGB file the outcome is that of its library (torchvision's weights'
transform, clip's `_transform`, both of which resize by Pillow), but that torch resizes three times as fast and rounds a
pixel in 250 to the next level of 255, and for JPEGs that are several times as large (see `DRAFT`). Other files differ
on purpose: the orientation in EXIF data is respected, transparent parts are white, and palettes, CMYK and 16-bit greys
become RGB before they are resized.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from captioning.core.errors import UserError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # none that runs another program, as EPS does
MAX_PIXELS = 100_000_000  # a file that would unpack to more is refused: 300 MB of memory from a few bytes
LONGEST_RATIO = 50  # of an image's sides; of a longer one, whose middle is all that is seen, the ends go first
DRAFT = 3  # times the resized side that is left of a large JPEG; pixels then differ by 0.3 of 255 levels on average

warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd metadata, which does not matter here; for all threads


class ImageFault(UserError):
    """A file that is no usable image. The message names the file and the fault."""


@dataclass(frozen=True)
class Preprocess:
    """What happens to an image before a network: shorter side to `resize`, centre crop, (x / 255 - mean) / std."""

    name: str
    image_size: int  # pixels a side of the crop, S
    resize: int  # pixels of the shorter side before it
    interpolation: str  # bilinear | bicubic, both with anti-aliasing
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def from_dict(cls, values: dict) -> Preprocess:
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})

    def to_dict(self) -> dict:
        return asdict(self)

    def describe(self) -> str:
        """All of it in one line, for the attributes of a feature store."""
        mean, std = (" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        resize = f"resize {self.resize} {self.interpolation} by torch, JPEG draft {DRAFT}"
        return f"{resize}, crop {self.image_size}, mean {mean}, std {std}"

    def normalize(self, pixels: Tensor) -> Tensor:
        """Bytes (B, 3, S, S) to what the network takes, float32 in channels_last memory, on the same device."""
        width = pixels.shape[3]
        mean, std = (torch.tensor(x, device=pixels.device).repeat(width) for x in (self.mean, self.std))  # (S * 3,)
        lines = pixels.permute(0, 2, 3, 1).flatten(2)  # (B, S, S * 3): long runs, four times as fast as runs of three
        values = lines.float().div_(255).sub_(mean).div_(std)
        return values.unflatten(2, (width, 3)).permute(0, 3, 1, 2)  # (B, 3, S, S)


def clip_preprocess(image_size: int = 224) -> Preprocess:
    """CLIP's own (`clip.clip._transform`)."""
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    return Preprocess("clip", image_size, image_size, "bicubic", mean, std)


def vgg16_preprocess(image_size: int = 224) -> Preprocess:
    """That of torchvision's ImageNet weights: 256 before a crop of 224, and in proportion for other sizes."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return Preprocess("imagenet", image_size, round(image_size * 256 / 224), "bilinear", mean, std)


def open_rgb(source: str | Path | bytes, name: str = "", enough: int | None = None) -> Image.Image:
    """An image file, or its bytes, as an upright RGB image. Raises ImageFault for whatever is wrong with it.

    Args:
        enough: a JPEG may be unpacked at a half, a quarter or an eighth, if its shorter side keeps so many pixels.
    """
    name = name or str(source if not isinstance(source, bytes) else "image")
    try:
        image = _parse(source if isinstance(source, bytes) else read_content(source), name)
        if enough:
            _shrink(image, enough)
        return _to_rgb(image)
    except ImageFault:
        raise
    except Exception as error:  # decoders raise nearly anything on hostile files; none of it may stop the others
        fault = " ".join(str(error).split()) or type(error).__name__
        raise ImageFault(f"{name} is not a usable image: {fault}") from None


def read_content(path: str | Path) -> bytes:
    path = Path(path)
    if not path.is_file():  # opening a named pipe or a device would wait for ever
        raise ImageFault(f"{path} {'is not a regular file' if path.exists() else 'does not exist'}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageFault(f"{path} cannot be read: {error.strerror}") from None


def _parse(content: bytes, name: str) -> Image.Image:
    if not content:
        raise ImageFault(f"{name} is empty")
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise ImageFault(f"{name} is not an image of a known format ({', '.join(FORMATS)})") from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageFault(f"{name} has {width} x {height} pixels, more than the {MAX_PIXELS:,} allowed")
    return image


def _shrink(image: Image.Image, enough: int) -> None:
    """Lets the JPEG decoder do the first part of a resize, in its own cosines. Other formats stay as they are."""
    width, height = image.size
    for scale in (8, 4, 2):  # only where nothing is left over: the edge of a part of a pixel would shift the rest
        if min(image.size) >= scale * enough and width % scale == 0 and height % scale == 0:
            image.draft("RGB", (width // scale, height // scale))
            return


def _to_rgb(image: Image.Image) -> Image.Image:
    image.load()
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)
    except Exception:  # broken EXIF data does not make a picture unusable
        turned = False
    if turned:
        image = ImageOps.exif_transpose(image)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):  # 16-bit grey: Pillow would clip it to white
        grey = np.asarray(image, dtype=np.float64) / 257
        return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8), "L").convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def transform(image: Image.Image, preprocess: Preprocess) -> np.ndarray:
    """Resize and centre crop of an RGB image, (S, S, 3) uint8."""
    image = _without_ends(image)
    width, height = image.size
    short, crop = preprocess.resize, preprocess.image_size
    rows, columns = (int(short * height / width), short) if width <= height else (short, int(short * width / height))
    pixels = torch.from_numpy(np.array(image))[None].permute(0, 3, 1, 2)  # (H, W, 3) -> (1, 3, H, W)
    if (rows, columns) != (height, width):
        pixels = F.interpolate(pixels, (rows, columns), mode=preprocess.interpolation, antialias=True)
    top, left = (round((side - crop) / 2.0) for side in (rows, columns))  # rounded as torchvision does
    return pixels[0, :, top : top + crop, left : left + crop].permute(1, 2, 0).numpy()  # (3, S, S) -> (S, S, 3)


def _without_ends(image: Image.Image) -> Image.Image:
    """A line of pixels would unfold to gigabytes, to be cropped at once."""
    width, height = image.size
    longest = LONGEST_RATIO * min(image.size)
    left, top = (max(0, side - longest) // 2 for side in image.size)
    return image.crop((left, top, width - left, height - top)) if left or top else image


def decode(source: str | Path | bytes, preprocess: Preprocess, name: str = "") -> np.ndarray:
    """A file, or its bytes, to what the network sees, (S, S, 3) uint8. Raises ImageFault."""
    return transform(open_rgb(source, name, DRAFT * preprocess.resize), preprocess)
