"""The weights that the fine-tuning stages start from: fresh ones, the libraries' pretrained ones, or a file."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor

from captioning.errors import UserError
from captioning.images import Preprocess, clip_preprocess, vgg16_preprocess
from captioning.settings import CLIP, VGG16
from models import clip, vgg16

CLIP_VOCABULARY = 49408  # of clip.tokenize


def initial_vgg16(options: VGG16) -> tuple[vgg16.VGG16, Preprocess]:
    """A VGG16 as `vgg16.weights` asks for it, and the preprocessing that goes with it."""
    if options.weights == "scratch":
        config = vgg16.VGG16Config(options.image_size, options.scratch.width, batch_norm=True, num_labels=1)
        return vgg16.VGG16(config), vgg16_preprocess(options.image_size)
    if options.weights == "imagenet":
        from torchvision.models import VGG16_Weights

        network = vgg16.from_state_dict(_offline("vgg16.weights", VGG16_Weights.IMAGENET1K_V1.get_state_dict))
    else:
        network = _fit(vgg16.from_state_dict, read_state_dict(options.weights), "vgg16.weights", options.weights)
    return network, vgg16_preprocess(network.config.image_size)


def initial_clip(options: CLIP) -> tuple[clip.CLIP, Preprocess]:
    """A CLIP as `clip.weights` asks for it, and the preprocessing that goes with it."""
    if options.weights == "scratch":
        s = options.scratch
        config = clip.CLIPConfig(
            s.embed_dim, s.image_size, tuple(s.vision_layers), s.vision_width, None,
            s.context_length, CLIP_VOCABULARY, s.text_width, s.text_layers,
        )  # fmt: skip
        return clip.build(config), clip_preprocess(s.image_size)
    import clip as openai_clip

    if options.weights in openai_clip.available_models():
        model, _ = _offline("clip.weights", lambda: openai_clip.load(options.weights, "cpu", jit=False))
        weights = model.state_dict()
    else:
        weights = read_state_dict(options.weights)
    model = _fit(clip.from_state_dict, weights, "clip.weights", options.weights)
    return model, clip_preprocess(model.visual.input_resolution)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name from .safetensors, a torch file of tensors alone, or a TorchScript archive such as OpenAI's."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"no weights at {path}: give a file, a name, or `scratch`")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        try:
            weights = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError) as error:
            if "TorchScript" not in str(error):
                raise
            weights = torch.jit.load(path, map_location="cpu").state_dict()
    except Exception as error:
        raise UserError(f"{path} holds no weights that can be opened safely: {str(error).splitlines()[0]}") from None
    weights = weights.get("state_dict", weights) if isinstance(weights, dict) else weights
    if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise UserError(f"{path} is no state dict: expected tensors by name")
    return weights


def _fit(build, weights: dict[str, Tensor], key: str, value: str):
    try:
        return build(weights)
    except ValueError as error:
        raise UserError(f"{key} = {value!r}: {error}") from None


def _offline(key: str, load):
    try:
        return load()
    except OSError as error:  # urllib's errors among them
        raise UserError(
            f"{key}: the pretrained weights are neither in the cache nor to be downloaded ({error})"
        ) from None
