"""From an image file to a network's input: the encoders' own resizing and cropping.

Pixels are stored as bytes, (B, 3, S, S) uint8, a quarter of the size of floats. `Preprocess.normalize`
converts them on the network's device. For an upright RGB file the result is that of the encoder's library
(the transform of torchvision's weights, or clip's `_transform`; both resize with Pillow), with two
exceptions. torch resizes three times as fast and rounds one pixel in 250 to the next of 255 levels. JPEGs
that are several times too large are reduced while decoding (see `DRAFT`). Other files differ on purpose: EXIF
orientation is applied, transparent parts are white, and palettes, CMYK and 16-bit greys become RGB before
resizing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from captioning.core.pictures import open_rgb

LONGEST_RATIO = 50  # ratio of an image's sides; longer images lose their ends before the centre crop
# Times the resized side: least size of a reduced JPEG. Pixels differ by 0.3 of 255 levels on average.
DRAFT = 3


@dataclass(frozen=True)
class Preprocess:
    """An encoder's preprocessing: shorter side to `resize`, centre crop, (x / 255 - mean) / std.

    Without `resize` the whole image becomes the square, whatever its shape.
    """

    name: str
    image_size: int  # pixels of a side of the crop, S
    resize: int | None  # pixels of the shorter side before the crop; None: both become S, without a crop
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
        size, crop = (self.resize, f"crop {self.image_size}") if self.resize else (self.image_size, "whole")
        resize = f"resize {size} {self.interpolation} by torch, JPEG draft {DRAFT}"
        return f"{resize}, {crop}, mean {mean}, std {std}"

    def normalize(self, pixels: Tensor) -> Tensor:
        """Converts bytes (B, 3, S, S) to the network's input: float32, channels_last, on the same device."""
        width = pixels.shape[3]
        # (S * 3,), copied without making the host wait for a GPU
        mean, std = (
            torch.tensor(x).repeat(width).to(pixels.device, non_blocking=True) for x in (self.mean, self.std)
        )
        # (B, S, S * 3): long runs, four times as fast as runs of three
        lines = pixels.permute(0, 2, 3, 1).flatten(2)
        values = lines.float().div_(255).sub_(mean).div_(std)
        return values.unflatten(2, (width, 3)).permute(0, 3, 1, 2)  # (B, 3, S, S)


def clip_preprocess(image_size: int = 224) -> Preprocess:
    """The preprocessing of CLIP (`clip.clip._transform`)."""
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    return Preprocess("clip", image_size, image_size, "bicubic", mean, std)


def vgg16_preprocess(image_size: int = 224) -> Preprocess:
    """The preprocessing of torchvision's ImageNet weights: 256 before a crop of 224, or in proportion."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return Preprocess("imagenet", image_size, round(image_size * 256 / 224), "bilinear", mean, std)


def transform(image: Image.Image, preprocess: Preprocess) -> np.ndarray:
    """Resizes and crops an RGB image: (S, S, 3) uint8."""
    if preprocess.resize:
        image = _without_ends(image)
    pixels = torch.from_numpy(np.array(image))[None].permute(0, 3, 1, 2)  # (H, W, 3) -> (1, 3, H, W)
    return resize_and_crop(pixels, preprocess)[0].permute(1, 2, 0).numpy()  # (3, S, S) -> (S, S, 3)


def resize_and_crop(pixels: Tensor, preprocess: Preprocess) -> Tensor:
    """Resizes and crops images of one size, (B, 3, H, W) bytes or floats, to (B, 3, S, S).

    Floats may overshoot.
    """
    height, width = pixels.shape[2:]
    crop = preprocess.image_size
    rows, columns = _resized(height, width, preprocess.resize) if preprocess.resize else (crop, crop)
    if (rows, columns) != (height, width):
        pixels = F.interpolate(pixels, (rows, columns), mode=preprocess.interpolation, antialias=True)
    top, left = (round((side - crop) / 2.0) for side in (rows, columns))  # rounded as in torchvision
    return pixels[:, :, top : top + crop, left : left + crop]


def _resized(height: int, width: int, short: int) -> tuple[int, int]:
    """Rows and columns of an image once its shorter side is `short`."""
    return (int(short * height / width), short) if width <= height else (short, int(short * width / height))


def _without_ends(image: Image.Image) -> Image.Image:
    """Crops very long images: a line of pixels would otherwise be resized to gigabytes."""
    width, height = image.size
    longest = LONGEST_RATIO * min(image.size)
    left, top = (max(0, side - longest) // 2 for side in image.size)
    return image.crop((left, top, width - left, height - top)) if left or top else image


def decode(source: str | Path | bytes, preprocess: Preprocess, name: str = "") -> np.ndarray:
    """Reads a file, or its bytes, as a network's input (S, S, 3) uint8. Raises ImageFault."""
    return transform(open_rgb(source, name, DRAFT * (preprocess.resize or preprocess.image_size)), preprocess)
