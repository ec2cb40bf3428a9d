"""`clip.weights: open_clip:...`: the library's image tower with its weights, and its preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
from torch import nn

from captioning.core.errors import UserError, opening
from captioning.features.images import Preprocess
from captioning.weights.open_clip import parts, preprocessing
from models import openclip

AGAIN = "give a tag of open_clip, or a file of weights of this model"


def read_tower(text: str, file: Path) -> tuple[nn.Module, dict[str, Any], Preprocess]:
    """An image tower in fp32 on the CPU, the sizes that `models.openclip.build` takes, and its preprocessing.

    Args:
        text: NAME/PRETRAINED.
        file: the weights. No code in it is run.

    Raises:
        UserError: the weights do not fit the model, or `Preprocess` cannot express its preprocessing.
    """
    name, pretrained = parts(text)
    made = {key: value for key, value in preprocessing(name, pretrained).items() if key != "size"}
    with opening(file, f"a file of open_clip's weights of {name}", AGAIN):
        model = open_clip.create_model(
            name, pretrained=str(file), force_preprocess_cfg=made, weights_only=True, require_pretrained=True
        )
    if hasattr(model.visual, "output_tokens"):
        model.visual.output_tokens = False  # CoCa's gives tokens beside the embedding
    sizes = openclip.sizes_of(open_clip.get_model_config(name))
    return model.visual.eval(), sizes, preprocess_of(model.visual.preprocess_cfg, name)


def preprocess_of(made: dict[str, Any], name: str) -> Preprocess:
    """The library's preprocessing. Raises UserError, naming what `Preprocess` cannot express."""
    size = made["size"]
    height, width = (size, size) if isinstance(size, int) else size
    for known, key in (
        (height == width, "size"),
        (made["resize_mode"] in ("shortest", "squash"), "resize_mode"),
    ):
        if not known:
            raise UserError(
                f"open_clip's {name} prepares pictures with {key} = {made[key]!r}, which is not supported: "
                "compute its features with open_clip and import them by clip.features"
            )
    # `random` is for training.
    interpolation = "bilinear" if made["interpolation"] == "bilinear" else "bicubic"
    resize = height if made["resize_mode"] == "shortest" else None
    return Preprocess("open_clip", height, resize, interpolation, tuple(made["mean"]), tuple(made["std"]))
