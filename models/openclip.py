"""Image towers of open_clip as that library builds them: a picture's embedding, or its patches' tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

# The text tower is built with the image tower, and dropped.
SMALL_TEXT = {"width": 64, "heads": 1, "layers": 1, "vocab_size": 1, "context_length": 1}


def sizes_of(config: dict[str, Any]) -> dict[str, Any]:
    """The sizes that `build` needs, from the library's config of a model."""
    tower = {"timm_model_pretrained": False, "output_tokens": False}  # no download; only the embedding
    return {
        "embed_dim": config["embed_dim"],
        "vision_cfg": config["vision_cfg"] | tower,
        "quick_gelu": bool(config.get("quick_gelu")),
    }


def build(sizes: dict[str, Any]) -> nn.Module:
    """An image tower whose weights are about to be loaded."""
    return open_clip.CLIP(**sizes, text_cfg=SMALL_TEXT).visual


def layers(network: nn.Module) -> dict[str, Callable[[Tensor], Tensor]]:
    """Functions of images (B, 3, S, S): `embedding` (B, D) and, for vision transformers, `patches` (B, P, W).

    Patches are the last block's tokens without its class token, before the norm and the pooling.
    """

    def run(method: Callable[..., Any], images: Tensor, **options: Any) -> Any:
        with torch.autocast(images.device.type, images.dtype, enabled=images.dtype != torch.float32):
            return method(images, **options)

    def embedding(images: Tensor) -> Tensor:
        return run(network, images)

    def patches(images: Tensor) -> Tensor:
        options = {"indices": 1, "intermediates_only": True, "output_fmt": "NLC"}
        return run(network.forward_intermediates, images, **options)["image_intermediates"][-1]

    trunk = getattr(network, "trunk", None)
    is_transformer = hasattr(network, "transformer") or hasattr(trunk, "num_prefix_tokens")
    return {"embedding": embedding} | ({"patches": patches} if is_transformer else {})
