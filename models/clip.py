"""CLIP (Radford et al. 2021): OpenAI's own network, built in fp32 from its sizes.

`clip.load` is not used: it halves the precision, changes the dict that it is given, may run an archive's
code, and always builds both towers. The networks here are the classes of `clip.model`, with the same numbers
and weight names.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn


def _networks():
    """The file `clip/model.py` as a module.

    Importing it as `clip.model` would first import torchvision and pkg_resources, which takes 4 s. Neither is
    needed here, and current versions of setuptools have no pkg_resources.
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

ACTIVATIONS = {"quick_gelu": _model.QuickGELU, "gelu": nn.GELU}  # OpenAI's; that of most open_clip networks
CACHE_LINE = 16  # float32 numbers
HEAD = 64  # channels of an attention head in every CLIP; the width determines the number of heads


@dataclass(frozen=True)
class CLIPConfig:
    """Sizes of both towers.

    A vision transformer's `vision_layers` is an int; a ResNet's is four ints, and it has no patches.
    """

    embed_dim: int
    image_size: int  # pixels of a side
    vision_layers: int | tuple[int, int, int, int]
    vision_width: int
    vision_patch_size: int | None
    context_length: int
    vocab_size: int
    text_width: int
    text_layers: int
    activation: str = "quick_gelu"  # activation of the hidden layers in both transformers

    def __post_init__(self) -> None:
        if isinstance(self.vision_layers, list):  # from JSON
            object.__setattr__(self, "vision_layers", tuple(self.vision_layers))
        for name in ("text_width", "vision_width"):
            if name == "vision_width" and self.is_resnet:
                continue  # its attention is 32 times as wide as this
            if getattr(self, name) % HEAD or getattr(self, name) < HEAD:
                raise ValueError(f"CLIP's {name} must be a multiple of {HEAD}, not {getattr(self, name)}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"CLIP's activation must be {' or '.join(ACTIVATIONS)}, not {self.activation}")
        step = 32 if self.is_resnet else self.vision_patch_size
        if not step or self.image_size % step:
            raise ValueError(
                f"CLIP's image_size {self.image_size} must be a multiple of its patch size {step}"
            )

    @property
    def is_resnet(self) -> bool:
        return isinstance(self.vision_layers, tuple)


def build(config: CLIPConfig) -> CLIP:
    """Builds a CLIP in fp32 with fresh weights, initialised as its authors do."""
    model = CLIP(
        config.embed_dim, config.image_size, config.vision_layers, config.vision_width,
        config.vision_patch_size, config.context_length, config.vocab_size,
        config.text_width, config.text_width // HEAD, config.text_layers,
    )  # fmt: skip
    if config.is_resnet:
        _train_stem_by_channel(model.visual)
    return _with_activation(model, config.activation)


def _with_activation(network: nn.Module, activation: str) -> nn.Module:
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, tuple(ACTIVATIONS.values())):
                setattr(module, name, ACTIVATIONS[activation]())
    return network


def _train_stem_by_channel(tower: ModifiedResNet) -> None:
    """Keeps a narrow stem's images channel by channel in memory while it trains on a processor. Same result.

    In channels_last memory, each thread of torch's batch normalisation has a row of sums, one per channel.
    Short rows share a cache line, and the threads wait for each other: with 8 channels, the backward pass
    takes many times as long. The blocks after the stem are faster in channels_last. `benchmarks.kernels`
    measures both.
    """
    if tower.conv1.out_channels < CACHE_LINE:
        tower.conv1.register_forward_pre_hook(_by_channel)
        tower.avgpool.register_forward_hook(_by_pixel)


def _by_channel(module: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:
    (x,) = arguments
    return (x.contiguous() if module.training and x.device.type == "cpu" else x,)


def _by_pixel(module: nn.Module, arguments: tuple[Tensor], x: Tensor) -> Tensor:
    trains = module.training and x.device.type == "cpu"
    return x.contiguous(memory_format=torch.channels_last) if trains else x


def activation_of(network: nn.Module) -> str:
    """The name of the hidden layers' activation, which the weights alone do not tell."""
    return "gelu" if any(isinstance(module, nn.GELU) for module in network.modules()) else "quick_gelu"


def build_image_tower(config: CLIPConfig) -> ModifiedResNet | VisionTransformer:
    """Builds the image tower: normalised images (B, 3, S, S) to `encode_image`'s result, (B, embed_dim)."""
    if config.is_resnet:
        heads = config.vision_width * 32 // HEAD
        return ModifiedResNet(
            config.vision_layers, config.embed_dim, heads, config.image_size, config.vision_width
        )
    tower = VisionTransformer(
        config.image_size, config.vision_patch_size, config.vision_width, config.vision_layers,
        config.vision_width // HEAD, config.embed_dim,
    )  # fmt: skip
    return _with_activation(tower, config.activation)


def patches(tower: VisionTransformer, images: Tensor) -> Tensor:
    """Images (B, 3, S, S) to the last block's tokens of patches, before the final norm (B, P, width)."""
    found = tower.conv1(images).flatten(2).transpose(1, 2)  # (B, P, W)
    first = tower.class_embedding.to(found.dtype).expand(len(found), 1, -1)
    tokens = torch.cat([first, found], dim=1) + tower.positional_embedding.to(found.dtype)
    # Blocks take (L, B, W).
    return tower.transformer(tower.ln_pre(tokens).transpose(0, 1)).transpose(0, 1)[:, 1:]
