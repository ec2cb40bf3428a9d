"""Vision towers of transformers as that library builds them: a picture's embedding, or its patches' tokens.

An embedding is the library's own: the projection into the space of captions (CLIP), the pooled output
(SigLIP, DINOv2, DINOv3 and others that have one), or the class token after the last norm (ViT, whose pooler
most checkpoints lack).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, CLIPVisionModelWithProjection, PretrainedConfig, ViTModel
from transformers.initialization import no_init_weights

PATCHES_LAST = (
    "clip_vision_model", "siglip_vision_model", "dinov2", "dinov2_with_registers", "dinov3_vit", "vit",
)  # fmt: skip
# Their number of patches depends on the picture's shape.
UNSETTLED = ("siglip2", "siglip2_vision_model")


def vision_config(config: PretrainedConfig) -> PretrainedConfig:
    """The image tower's part of a config of two towers, or the config. Raises ValueError if not supported."""
    if config.model_type in UNSETTLED:
        raise ValueError(
            f"a {config.model_type} takes pictures of any shape (NaFlex); take one of fixed resolution"
        )
    tower = getattr(config, "vision_config", config)
    if config.model_type == "clip":
        tower.projection_dim = config.projection_dim
    return tower


def made_by(config: PretrainedConfig) -> tuple[Any, dict[str, Any]]:
    """The class that builds and loads such a tower, and its arguments besides the config."""
    if config.model_type == "clip_vision_model":
        return CLIPVisionModelWithProjection, {}
    return (ViTModel, {"add_pooling_layer": False}) if config.model_type == "vit" else (AutoModel, {})


def sizes_of(network: nn.Module) -> dict[str, Any]:
    """The sizes that `build` needs: the network's config without the entries about its origin."""
    made = ("transformers_version", "_name_or_path", "architectures", "dtype", "id2label", "label2id")
    return {key: value for key, value in network.config.to_dict().items() if key not in made}


def build(sizes: dict[str, Any]) -> nn.Module:
    """A tower whose weights will be loaded. Raises ValueError if transformers has no network of these sizes.

    `models.empty.no_weights` alone is not enough: torch would draw truncated normals again and again.
    """
    config = AutoConfig.for_model(**sizes)
    tower, options = made_by(config)
    with no_init_weights():
        return AutoModel.from_config(config) if tower is AutoModel else tower(config, **options)


def layers(network: nn.Module) -> dict[str, Callable[[Tensor], Tensor]]:
    """Images (B, 3, S, S) to `embedding` (B, D) and, of vision transformers, `patches` (B, P, W)."""
    kind = network.config.model_type

    def run(images: Tensor):
        with torch.autocast(images.device.type, images.dtype, enabled=images.dtype != torch.float32):
            return network(pixel_values=images)

    def embedding(images: Tensor) -> Tensor:
        output = run(images)
        if kind == "vit":
            return output.last_hidden_state[:, 0]
        found = output.image_embeds if kind == "clip_vision_model" else getattr(output, "pooler_output", None)
        if found is None:
            raise ValueError(f"a {kind} gives no pooled output")
        return found.flatten(1)

    def patches(images: Tensor) -> Tensor:
        side = network.config.patch_size
        count = (images.shape[2] // side) * (images.shape[3] // side)
        return run(images).last_hidden_state[:, -count:]  # after the class token and the registers

    return {"embedding": embedding} | ({"patches": patches} if kind in PATCHES_LAST else {})
