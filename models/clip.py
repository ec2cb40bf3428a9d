"""CLIP (Radford et al. 2021): OpenAI's own network, built in fp32 from sizes or from the weights alone.

`clip.load` does more than is wanted here: it halves the precision, changes the dict it is given, may run an archive's
code, and always builds both towers. The networks here are `clip.model`'s own classes: same numbers, same weight names.
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from models.empty import no_weights


def _networks():
    """The file `clip/model.py` as a module. Importing it as `clip.model` would run the package's own imports first:
    torchvision, and pkg_resources, which today's setuptools no longer has; neither is needed here, and they take 4 s.
    """
    package = importlib.util.find_spec("clip")
    if package is None:
        raise ImportError("the package clip-anytorch is not installed: run `make`, or see requirements.txt")
    spec = importlib.util.spec_from_file_location("_clip_model", Path(package.origin).with_name("model.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_model = _networks()
CLIP, ModifiedResNet, VisionTransformer = _model.CLIP, _model.ModifiedResNet, _model.VisionTransformer

HEAD = 64  # channels of an attention head, in every CLIP: the number of heads is not stored but computed from the width


@dataclass(frozen=True)
class CLIPConfig:
    """Sizes of both towers. A vision transformer's `vision_layers` is an int; a ResNet has four, and no patches."""

    embed_dim: int
    image_size: int  # pixels a side
    vision_layers: int | tuple[int, int, int, int]
    vision_width: int
    vision_patch_size: int | None
    context_length: int
    vocab_size: int
    text_width: int
    text_layers: int

    def __post_init__(self) -> None:
        if isinstance(self.vision_layers, list):  # from JSON
            object.__setattr__(self, "vision_layers", tuple(self.vision_layers))
        for name in ("text_width", "vision_width"):
            if name == "vision_width" and self.is_resnet:
                continue  # its attention is 32 times as wide as this
            if getattr(self, name) % HEAD or getattr(self, name) < HEAD:
                raise ValueError(f"CLIP's {name} must be a multiple of {HEAD}, not {getattr(self, name)}")
        step = 32 if self.is_resnet else self.vision_patch_size
        if not step or self.image_size % step:
            raise ValueError(f"CLIP's image_size {self.image_size} must be a multiple of its patch size {step}")

    @property
    def is_resnet(self) -> bool:
        return isinstance(self.vision_layers, tuple)


def build(config: CLIPConfig) -> CLIP:
    """A CLIP in fp32 with fresh weights, as its authors initialise them."""
    return CLIP(
        config.embed_dim, config.image_size, config.vision_layers, config.vision_width, config.vision_patch_size,
        config.context_length, config.vocab_size, config.text_width, config.text_width // HEAD, config.text_layers,
    )  # fmt: skip


def build_image_tower(config: CLIPConfig) -> ModifiedResNet | VisionTransformer:
    """The image tower alone: normalised images (B, 3, S, S) to what `encode_image` gives, (B, embed_dim)."""
    if config.is_resnet:
        heads = config.vision_width * 32 // HEAD
        return ModifiedResNet(config.vision_layers, config.embed_dim, heads, config.image_size, config.vision_width)
    return VisionTransformer(
        config.image_size, config.vision_patch_size, config.vision_width, config.vision_layers,
        config.vision_width // HEAD, config.embed_dim,
    )  # fmt: skip


def config_of(weights: dict[str, Tensor]) -> CLIPConfig:
    """The sizes of the CLIP that a state dict belongs to. Raises ValueError when it is not a CLIP's."""

    def count(prefix: str, position: int) -> int:
        return len({name.split(".")[position] for name in weights if name.startswith(prefix)})

    try:
        if "visual.proj" in weights:
            vision_width, _, patch, _ = weights["visual.conv1.weight"].shape
            layers = count("visual.transformer.resblocks.", 3)
            cells = math.isqrt(weights["visual.positional_embedding"].shape[0] - 1)
            image_size = cells * patch
        else:
            vision_width, patch = weights["visual.layer1.0.conv1.weight"].shape[0], None
            layers = tuple(count(f"visual.layer{stage}.", 2) for stage in (1, 2, 3, 4))
            cells = math.isqrt(weights["visual.attnpool.positional_embedding"].shape[0] - 1)
            image_size = cells * 32
        context_length, text_width = weights["positional_embedding"].shape
        return CLIPConfig(
            embed_dim=weights["text_projection"].shape[1],
            image_size=image_size,
            vision_layers=layers,
            vision_width=vision_width,
            vision_patch_size=patch,
            context_length=context_length,
            vocab_size=weights["token_embedding.weight"].shape[0],
            text_width=text_width,
            text_layers=count("transformer.resblocks.", 2),
        )
    except KeyError as error:
        raise ValueError(f"not a CLIP: no weight named {error}") from None


def from_state_dict(weights: dict[str, Tensor]) -> CLIP:
    """A CLIP in fp32 with these weights (fp16 ones are widened), sizes inferred from them; `weights` stays as it is.

    Raises ValueError when they are not a CLIP's.
    """
    config = config_of(weights)
    with no_weights():
        model = build(config)
    load(model, {name: tensor for name, tensor in weights.items() if name not in ARCHIVE_EXTRAS})
    return model


# Numbers that the official archives keep among the weights.
ARCHIVE_EXTRAS = ("input_resolution", "context_length", "vocab_size")


def load(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Give a network made by `no_weights` these weights, copied, floats as fp32. ValueError when they do not fit."""
    copies = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    copies = {name: tensor.clone() if tensor is weights[name] else tensor for name, tensor in copies.items()}
    try:
        network.load_state_dict(copies, assign=True)
    except RuntimeError as error:
        raise ValueError(f"the weights do not fit the network: {str(error).splitlines()[-1].strip()}") from None
