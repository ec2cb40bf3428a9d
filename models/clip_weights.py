"""CLIPs from the weights that people have: OpenAI's, a CLIPModel of transformers, or an open_clip folder."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from models.clip import CLIP, HEAD, CLIPConfig, build
from models.empty import no_weights

# Numbers that the official archives store among the weights.
ARCHIVE_EXTRAS = ("input_resolution", "context_length", "vocab_size")

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

# Parts of the names in transformers, and OpenAI's.
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


def from_state_dict(weights: dict[str, Tensor], activation: str = "quick_gelu") -> CLIP:
    """Builds a CLIP in fp32 with these weights; the sizes are inferred from them.

    fp16 weights are widened; `weights` is not changed. Raises ValueError if they are not a CLIP's.
    """
    config = replace(config_of(weights), activation=activation)
    with no_weights():
        model = build(config)
    _load(model, {name: tensor for name, tensor in weights.items() if name not in ARCHIVE_EXTRAS})
    return model


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
        _check_heads(name, width, heads)
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
        _check_heads("vision_cfg", vision["width"], vision["width"] // vision.get("head_width", HEAD))
    _check_heads("text_cfg", text["width"], text["heads"])
    return from_state_dict(weights, "quick_gelu" if config.get("quick_gelu") else "gelu")


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


def _check_heads(name: str, width: int, heads: int) -> None:
    if width != heads * HEAD:
        raise ValueError(
            f"{name} has {heads} heads for a width of {width}; heads of {HEAD} channels are supported"
        )


def _load(network: nn.Module, weights: dict[str, Tensor]) -> None:
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


def _looks_like(weights: dict[str, Tensor]) -> str:
    """Describes other weights by their names, for an error message."""
    seen = next((kind for name, kind in FORMATS.items() if any(name in weight for weight in weights)), None)
    names = ", ".join(sorted(weights)[:2])
    return f"it looks like {seen}" if seen else f"its weights have names such as {names}"
