"""The weights that the fine-tuning stages start from: fresh ones, the libraries' pretrained ones, or a file.

`captioning.weights.sources` finds or downloads the files. No library loads anything by name, so none waits
for an absent network. No code in a file is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from captioning.core.errors import UserError
from captioning.core.settings import CLIPSettings, VGG16Settings
from captioning.features.encoders import open_clip, open_vgg16
from captioning.features.images import Preprocess, clip_preprocess, vgg16_preprocess
from captioning.weights import checkpoint, sources
from captioning.weights.checkpoint import config_from
from captioning.weights.state_dict import read_folder, read_state_dict
from models import clip, clip_weights, vgg16

CLIP_VOCABULARY = 49408  # number of tokens of clip.tokenize


def initial_vgg16(options: VGG16Settings) -> tuple[vgg16.VGG16, Preprocess]:
    """The VGG16 that `vgg16.weights` names, and its preprocessing."""
    if options.weights == "scratch":
        config = config_from(vgg16.VGG16Config, options, options.scratch, batch_norm=True, num_labels=1)
        return vgg16.VGG16(config), vgg16_preprocess(config.image_size)
    path = sources.vgg16(options.weights).get()
    if path.is_dir():  # a checkpoint of ours
        return open_vgg16(path)[:2]
    weights = read_state_dict(path)
    network = _fit(lambda: vgg16.from_state_dict(weights), "vgg16.weights", options.weights)
    return network, vgg16_preprocess(network.config.image_size)


def initial_clip(options: CLIPSettings) -> tuple[clip.CLIP, Preprocess]:
    """The CLIP that `clip.weights` names, and its preprocessing."""
    if options.weights == "scratch":
        sizes = {"vision_patch_size": None, "vocab_size": CLIP_VOCABULARY}
        config = config_from(clip.CLIPConfig, options.scratch, **sizes)
        return clip.build(config), clip_preprocess(config.image_size)
    path = sources.clip(options.weights).get()
    model = _fit(lambda: _read_clip(path, options), "clip.weights", options.weights)
    return model, clip_preprocess(model.visual.input_resolution)


def initial_hf(options: CLIPSettings) -> tuple[nn.Module, Preprocess]:
    """The image tower of transformers that `clip.weights` names, and its processor's preprocessing."""
    from captioning.features.hf import read_tower  # imports transformers

    return read_tower(sources.clip(options.weights).get())


def initial_openclip(options: CLIPSettings) -> tuple[nn.Module, dict[str, Any], Preprocess]:
    """The image tower of open_clip that `clip.weights` names, its sizes, and its preprocessing."""
    file = sources.clip(options.weights).get()  # raises UserError if open_clip is not installed
    from captioning.features.openclip import read_tower

    return read_tower(options.weights.removeprefix(sources.OPEN_CLIP), file)


def _read_clip(path: Path, options: CLIPSettings) -> clip.CLIP:
    """A CLIP from a file or a folder. A folder's config says what weights cannot: heads and activation."""
    if path.is_dir() and checkpoint.is_ours(path):
        return open_clip(path)[0]
    config, weights = read_folder(path) if path.is_dir() else ({}, read_state_dict(path))
    # The mask is not a weight.
    weights = {name: tensor for name, tensor in weights.items() if not name.endswith("attn_mask")}
    if "model_cfg" in config:
        return clip_weights.from_open_clip(config["model_cfg"], weights)
    if config:
        return clip_weights.from_transformers(config, weights)
    clip_weights.check_openai_widths(clip_weights.config_of(weights))
    named = options.weights in sources.CLIP_FILES
    return clip_weights.from_state_dict(weights, "quick_gelu" if named else options.activation)


def _fit(build, key: str, value: str):
    try:
        return build()
    except (ValueError, TypeError, AttributeError) as error:  # the last two: a config with wrong types
        raise UserError(f"{key} = {value!r}: {error}") from None
