"""CLIP (Radford et al. 2021): OpenAI's own network, built in fp32 from its sizes or from weights alone.

`clip.load` is not used: it halves the precision, changes the dict that it is given, may run an archive's
code, and always builds both towers. The networks here are the classes of `clip.model`, with the same numbers
and weight names.
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from models.empty import no_weights


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
    return _with_activation(model, config.activation)


def _with_activation(network: nn.Module, activation: str) -> nn.Module:
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, tuple(ACTIVATIONS.values())):
                setattr(module, name, ACTIVATIONS[activation]())
    return network


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


def config_of(weights: dict[str, Tensor]) -> CLIPConfig:
    """Returns the sizes of the CLIP that a state dict belongs to. Raises ValueError if it is not a CLIP's."""

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
        raise ValueError(f"not a CLIP: no weight named {error}; {_looks_like(weights)}") from None


def _looks_like(weights: dict[str, Tensor]) -> str:
    """Describes other weights by their names, for an error message."""
    seen = next((kind for name, kind in FORMATS.items() if any(name in weight for weight in weights)), None)
    names = ", ".join(sorted(weights)[:2])
    return f"it looks like {seen}" if seen else f"its weights have names such as {names}"


def from_state_dict(weights: dict[str, Tensor], activation: str = "quick_gelu") -> CLIP:
    """Builds a CLIP in fp32 with these weights; the sizes are inferred from them.

    fp16 weights are widened; `weights` is not changed. Raises ValueError if they are not a CLIP's.
    """
    config = replace(config_of(weights), activation=activation)
    with no_weights():
        model = build(config)
    load(model, {name: tensor for name, tensor in weights.items() if name not in ARCHIVE_EXTRAS})
    return model


# Numbers that the official archives store among the weights.
ARCHIVE_EXTRAS = ("input_resolution", "context_length", "vocab_size")


def load(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Loads copies of these weights, floats as fp32, into a network made by `no_weights`.

    Raises ValueError if they do not fit.
    """
    copies = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items()
    }
    copies = {name: tensor.clone() if tensor is weights[name] else tensor for name, tensor in copies.items()}
    try:
        network.load_state_dict(copies, assign=True)
    except RuntimeError as error:
        raise ValueError(
            f"the weights do not fit the network: {str(error).splitlines()[-1].strip()}"
        ) from None


# Part of a weight's name that occurs in one format only, and that format.
FORMATS = {
    "visual.trunk.": "an open_clip model with a tower of timm",
    "text.transformer.": "an open_clip model with another text tower than OpenAI's",
    "logit_bias": "a SigLIP",
    "vision_model.": "a model of transformers: give its folder, which has a config.json",
    "classifier.": "a classifier such as VGG16",
    "gpt.": "a ClipCap",
    "wte.weight": "a GPT-2",
}
OPENAI_WIDTHS = {"vision_width": (768, 1024), "text_width": (512, 640, 768, 1024)}


def check_openai_widths(config: CLIPConfig) -> None:
    """Raises ValueError if a state dict alone does not determine the width of attention heads.

    OpenAI's sizes have heads of 64 channels.
    """
    for name, widths in OPENAI_WIDTHS.items():
        width = getattr(config, name)
        if width not in (HEAD, *widths) and not (name == "vision_width" and config.is_resnet):
            raise ValueError(
                f"no CLIP of OpenAI has a {name} of {width}, and a file of weights does not say how many "
                "attention heads it has: give the model's folder, with its config.json"
            )


def from_transformers(config: dict, weights: dict[str, Tensor]) -> CLIP:
    """Builds a CLIP in fp32 from the config.json and weights of transformers' CLIPModel.

    Raises ValueError if they are not a CLIPModel's.
    """
    if config.get("model_type") != "clip":
        raise ValueError(f"config.json describes a {config.get('model_type')}, not a CLIP with both towers")
    activations = set()
    for name in ("vision_config", "text_config"):
        tower = config.get(name) or {}
        defaults = {"vision_config": (768, 12), "text_config": (512, 8)}[name]  # the defaults of transformers
        width, heads = tower.get("hidden_size", defaults[0]), tower.get("num_attention_heads", defaults[1])
        check_heads(name, width, heads)
        if tower.get("layer_norm_eps", 1e-5) != 1e-5:
            raise ValueError(f"{name} has layer_norm_eps {tower['layer_norm_eps']}; CLIP's is 1e-5")
        activations.add(tower.get("hidden_act", "quick_gelu"))
    if len(activations) > 1:
        raise ValueError(f"the towers have different activations: {', '.join(sorted(activations))}")
    try:
        renamed = _openai_names(weights)
    except KeyError as error:
        raise ValueError(f"not a CLIPModel of transformers: no weight named {error}") from None
    return from_state_dict(renamed, activations.pop())


def from_open_clip(config: dict, weights: dict[str, Tensor]) -> CLIP:
    """Builds a CLIP in fp32 from `model_cfg` and the weights of an open_clip folder.

    Raises ValueError for a network of another build.
    """
    vision, text = config.get("vision_cfg") or {}, config.get("text_cfg") or {}
    if not isinstance(vision.get("layers"), list):  # a ResNet's heads always have 64 channels
        check_heads("vision_cfg", vision["width"], vision["width"] // vision.get("head_width", HEAD))
    check_heads("text_cfg", text["width"], text["heads"])
    return from_state_dict(weights, "quick_gelu" if config.get("quick_gelu") else "gelu")


def check_heads(name: str, width: int, heads: int) -> None:
    if width != heads * HEAD:
        raise ValueError(
            f"{name} has {heads} heads for a width of {width}; heads of {HEAD} channels are supported"
        )


RENAMED = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.": "visual.conv1.",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.": "visual.ln_pre.",
    "vision_model.post_layernorm.": "visual.ln_post.",
    "vision_model.encoder.layers.": "visual.transformer.resblocks.",
    "text_model.embeddings.token_embedding.": "token_embedding.",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.": "ln_final.",
    "text_model.encoder.layers.": "transformer.resblocks.",
    "visual_projection.weight": "visual.proj",
    "text_projection.weight": "text_projection",
    ".self_attn.out_proj.": ".attn.out_proj.",
    ".layer_norm1.": ".ln_1.",
    ".layer_norm2.": ".ln_2.",
    ".mlp.fc1.": ".mlp.c_fc.",
    ".mlp.fc2.": ".mlp.c_proj.",
}


def _openai_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, tensor in weights.items():
        if name.endswith("position_ids"):  # position ids (0, 1, 2, ...), not a weight
            continue
        for theirs, ours in RENAMED.items():
            name = name.replace(theirs, ours)
        found[name] = tensor.T.contiguous() if name in ("visual.proj", "text_projection") else tensor
    for name in [name for name in found if ".self_attn.q_proj." in name]:
        parts = [found.pop(name.replace("q_proj", part)) for part in ("q_proj", "k_proj", "v_proj")]
        found[name.replace("self_attn.q_proj.", "attn.in_proj_")] = torch.cat(parts)
    return found
