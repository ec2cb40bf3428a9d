"""`clip.weights: hf:...`: a vision tower of transformers and its processor's preprocessing, from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoImageProcessor
from transformers.utils import logging

from captioning.core.errors import UserError, in_a_line, opening
from captioning.features.images import Preprocess
from models import hf

INTERPOLATION = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers of resampling filters
AGAIN = "give the folder of a vision model of transformers, with its safetensors"


def read_tower(folder: Path) -> tuple[nn.Module, Preprocess]:
    """A folder's image tower, in fp32 on the CPU, and its preprocessing. No code of the folder is run.

    Raises:
        UserError: no such model, weights that are not all there, a processor that does what `Preprocess`
            cannot, or pictures that the tower does not take.
    """
    network = _network(folder)
    with opening(folder, "a model with an image processor", AGAIN):
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    preprocess = preprocess_of(processor.to_dict(), folder)
    black = torch.zeros(1, 3, preprocess.image_size, preprocess.image_size, dtype=torch.uint8)
    try:
        with torch.inference_mode():
            hf.layers(network)["embedding"](preprocess.normalize(black))
    except (ValueError, RuntimeError, TypeError, AttributeError) as error:
        raise UserError(
            f"{folder}: the {network.config.model_type} cannot process a picture of "
            f"{preprocess.image_size} pixels a side ({in_a_line(error)}): {AGAIN}"
        ) from None
    return network, preprocess


def _network(folder: Path) -> nn.Module:
    logging.disable_progress_bar()  # loading takes a moment
    level = logging.get_verbosity()
    logging.set_verbosity_error()  # no warnings about the other tower's weights, which are not used
    try:
        with opening(folder, "a vision model that can be read", AGAIN):
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            config = hf.vision_config(config)
            tower, options = hf.made_by(config)
            network, found = tower.from_pretrained(
                folder, config=config, dtype=torch.float32, local_files_only=True, use_safetensors=True,
                output_loading_info=True, **options,
            )  # fmt: skip
    finally:
        logging.set_verbosity(level)
    if missing := sorted(found["missing_keys"]):
        raise UserError(
            f"{folder}: {len(missing)} of the tower's weights are missing, such as {missing[0]}: {AGAIN}"
        )
    return network.eval()


def preprocess_of(made: dict[str, Any], folder: Path) -> Preprocess:
    """An image processor's steps as a `Preprocess`. Raises UserError, which names what it cannot express."""
    size, crop = dict(made.get("size") or {}), dict(made.get("crop_size") or {})

    def check(expressed: bool, key: str, expected: str) -> None:
        if not expressed:
            raise UserError(
                f"{folder}: its image processor has {key} = {made.get(key)!r}, expected {expected}: compute "
                "such features with transformers and import them by clip.features"
            )

    size, crop = ({key: side for key, side in sides.items() if side is not None} for sides in (size, crop))
    for key in ("do_resize", "do_rescale"):
        check(bool(made.get(key)), key, "true")
    known = ("do_resize", "do_rescale", "do_normalize", "do_center_crop", "do_convert_rgb")
    for key, value in made.items():
        check(not (key.startswith("do_") and value and key not in known), key, "false")
    check(made.get("crop_pct") is None, "crop_pct", "none")
    check(made.get("resample") in INTERPOLATION, "resample", "2 (bilinear) or 3 (bicubic)")
    check(abs(made.get("rescale_factor", 0) * 255 - 1) < 1e-6, "rescale_factor", "1/255")
    if made.get("do_center_crop"):
        check(set(size) == {"shortest_edge"}, "size", "a shortest_edge, which the centre is cropped from")
        resize = size["shortest_edge"]
        side = _square(crop)
        check(side is not None and side <= resize, "crop_size", f"a square of {resize} pixels a side or less")
    else:
        resize, side = None, _square(size)
        check(side is not None, "size", "a square, or a centre crop")
    mean, std = (0.0,) * 3, (1.0,) * 3
    if made.get("do_normalize"):
        mean, std = tuple(made["image_mean"]), tuple(made["image_std"])
        check(len(mean) == len(std) == 3, "image_mean", "three numbers")
    return Preprocess("hf", side, resize, INTERPOLATION[made["resample"]], mean, std)


def _square(sides: dict[str, int]) -> int | None:
    height, width = sides.get("height"), sides.get("width")
    return height if len(sides) == 2 and height == width else None
