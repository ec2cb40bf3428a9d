"""Image encoders as the pipeline uses them: checkpoint folders, and networks that turn pixels into features.

A checkpoint is a folder as `captioning.weights.checkpoint` describes it, with an image's `preprocess` in its
config. The fine-tuning stages write `checkpoints/vgg16` and `checkpoints/clip`; the extraction stages and the
app read them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captioning.core.code import closure, hash_of_files
from captioning.core.device import pick_device, pick_dtype
from captioning.core.errors import UserError
from captioning.core.files import sha256_of
from captioning.features.images import Preprocess
from captioning.weights import checkpoint
from captioning.weights.checkpoint import Checkpoint
from captioning.weights.open_clip import check_installed
from models import clip, clip_weights, vgg16


@dataclass
class Encoder:
    """A frozen network from pixels to features, and the attributes that a feature store keeps of it."""

    forward: Callable[[Tensor], Tensor]
    preprocess: Preprocess
    attributes: dict[str, str]
    device: torch.device
    dtype: torch.dtype
    code: str  # hash of the code that computes features
    l2_normalize: bool = False

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Bytes (B, 3, S, S) to features (B, D) or (B, H, W, C), float32 on the encoder's device."""
        images = self.preprocess.normalize(pixels.to(self.device, non_blocking=True))
        features = self.forward(images.to(self.dtype)).float()
        return F.normalize(features, dim=-1) if self.l2_normalize else features


@dataclass(frozen=True)
class Tower:
    """A network that makes features, as its checkpoint describes it.

    Attributes:
        network: in fp32 on the CPU.
        layers: {name: the function from normalised images (B, 3, S, S) to features}; the first is the usual
            one.
        title: its kind and sizes in a line, the attribute `encoder` of its features.
        module: its module in `models`; if its code changes, features are computed again.
        library: a library beside torch and Pillow that affects the numbers.
    """

    network: nn.Module
    layers: dict[str, Callable[[Tensor], Tensor]]
    title: str
    module: str
    library: tuple[str, ...] = ()


def load_encoder(
    folder: str | Path,
    made: Mapping[str, str],
    precision: str = "auto",
    device: torch.device | None = None,
    kinds: Collection[str] | None = None,
) -> Encoder:
    """The encoder in a checkpoint folder, set up to give the features that `made` describes.

    Args:
        made: attributes of a feature store. Two of them are used, which a checkpoint does not decide: `layer`
            and `normalization`.
        kinds: the kinds of encoder that the folder may hold; all by default.
    """
    saved = checkpoint.read(folder, kinds or TOWERS)
    preprocess, tower = saved.part("preprocess", Preprocess.from_dict), TOWERS[saved.kind](saved)
    layer, normalize = made.get("layer", next(iter(tower.layers))), made.get("normalization") == "l2"
    if layer not in tower.layers:
        raise UserError(
            f"{folder}: a {saved.kind} has no layer {layer!r}; expected {' or '.join(tower.layers)}"
        )
    device = device or pick_device()
    dtype = pick_dtype(precision, device)
    tower.network.requires_grad_(False).eval().to(device=device, memory_format=torch.channels_last)
    cast_products(tower.network, dtype)
    attributes = {
        "encoder": tower.title,
        "layer": layer,
        "weights": sha256_of(Path(folder) / checkpoint.WEIGHTS),
        "preprocessing": preprocess.describe(),
        "normalization": "l2" if normalize else "none",
        "precision": str(dtype).removeprefix("torch."),
        "device": device.type,
        "libraries": ", ".join(f"{name} {version(name)}" for name in ("torch", "pillow", *tower.library)),
    }
    return Encoder(tower.layers[layer], preprocess, attributes, device, dtype, _code(tower.module), normalize)


def _code(module: str) -> str:
    rooms = Path(__file__).parents[1]
    ours = [rooms / "features" / f"{name}.py" for name in ("images", "pixels", "jpeg", "encode", "encoders")]
    others = rooms / "core/pictures.py", rooms / "weights/checkpoint.py"
    return hash_of_files([*ours, *others, *closure(module, rooms.parent)])


def load_vgg16(
    folder: str | Path, layer: str = "fc7", precision: str = "auto", device: torch.device | None = None
) -> Encoder:
    """A VGG16 giving fc7 (B, 4096 * width) or conv5_3 (B, S/16, S/16, 512 * width)."""
    return load_encoder(folder, {"layer": layer}, precision, device, ("vgg16",))


def load_clip(
    folder: str | Path, normalize: bool = True, precision: str = "auto", device: torch.device | None = None
) -> Encoder:
    """A CLIP's image tower giving (B, embed_dim), of length 1 with `normalize`."""
    return load_encoder(
        folder, {"normalization": "l2" if normalize else "none"}, precision, device, ("clip",)
    )


def vgg16_tower(saved: Checkpoint) -> Tower:
    network = saved.network(vgg16_of)
    layers = {"fc7": network.fc7, "conv5_3": network.conv5_3}
    return Tower(network, layers, f"vgg16 width {network.config.width:g}", "models.vgg16")


def clip_tower(saved: Checkpoint) -> Tower:
    """The image tower alone; the text tower's weights stay on disk."""
    tower = saved.network(lambda sizes: clip.build_image_tower(clip.CLIPConfig(**sizes)), prefix="visual.")
    sizes = clip.CLIPConfig(**saved.sizes)
    layers = "-".join(map(str, sizes.vision_layers)) if sizes.is_resnet else sizes.vision_layers
    kind = "resnet" if sizes.is_resnet else f"vit/{sizes.vision_patch_size}"
    title = f"clip {kind} {layers} layers, width {sizes.vision_width}, {sizes.embed_dim} dimensions"
    of_layers = {"image embedding": tower} | (
        {} if sizes.is_resnet else {"patches": partial(clip.patches, tower)}
    )
    return Tower(tower, of_layers, title, "models.clip")


def hf_tower(saved: Checkpoint) -> Tower:
    """An image tower of transformers, which takes seconds to import."""
    from models import hf

    network = saved.network(hf.build)
    weights = sum(parameter.numel() for parameter in network.parameters())
    title = f"transformers {network.config.model_type}, {weights:,} weights"
    return Tower(network, hf.layers(network), title, "models.hf", ("transformers",))


def openclip_tower(saved: Checkpoint) -> Tower:
    """An image tower of open_clip, which is optional."""
    check_installed(f"{saved.folder}, an image tower of open_clip,")
    from models import openclip

    network = saved.network(openclip.build)
    weights = sum(parameter.numel() for parameter in network.parameters())
    name = saved.sizes["vision_cfg"].get("timm_model_name") or type(network).__name__
    title = f"open_clip {name}, {weights:,} weights"
    return Tower(network, openclip.layers(network), title, "models.openclip", ("open_clip_torch", "timm"))


# For each kind of checkpoint, the function that opens it. Another library's network needs one more line.
TOWERS: dict[str, Callable[[Checkpoint], Tower]] = {
    "vgg16": vgg16_tower,
    "clip": clip_tower,
    "hf": hf_tower,
    "open_clip": openclip_tower,
}


def cast_products(network: nn.Module, dtype: torch.dtype) -> None:
    """Casts what enters matrix products and convolutions, as autocast would; norms stay in float32."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.to(dtype)
        elif isinstance(module, nn.MultiheadAttention):
            # Parameters of the projections to queries, keys and values.
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
        elif isinstance(module, clip.VisionTransformer):
            module.proj.data = module.proj.data.to(dtype)


# Whole networks, for training and for CLIPScore


def save_vgg16(folder: str | Path, network: vgg16.VGG16, preprocess: Preprocess, **extra: object) -> None:
    """Writes a checkpoint folder; `extra` (scores, labels, ...) goes into its config.json."""
    checkpoint.save(
        folder, "vgg16", network, asdict(network.config), preprocess=preprocess.to_dict(), **extra
    )


def open_vgg16(folder: str | Path) -> tuple[vgg16.VGG16, Preprocess, dict[str, Any]]:
    """The network in fp32 on the CPU, ready for training; its preprocessing; the rest of its config.json."""
    saved = checkpoint.read(folder, ("vgg16",))
    return saved.network(vgg16_of), saved.part("preprocess", Preprocess.from_dict), saved.about


def save_clip(folder: str | Path, model: clip.CLIP, preprocess: Preprocess, **extra: object) -> None:
    """Writes a checkpoint folder with both towers; `extra` goes into its config.json."""
    sizes = replace(clip_weights.config_of(model.state_dict()), activation=clip.activation_of(model))
    checkpoint.save(folder, "clip", model, asdict(sizes), preprocess=preprocess.to_dict(), **extra)


def save_hf(folder: str | Path, tower: nn.Module, preprocess: Preprocess, **extra: object) -> None:
    """Writes a checkpoint folder with an image tower of transformers; `extra` goes into its config.json."""
    from models import hf

    checkpoint.save(folder, "hf", tower, hf.sizes_of(tower), preprocess=preprocess.to_dict(), **extra)


def save_openclip(
    folder: str | Path, tower: nn.Module, sizes: dict[str, Any], preprocess: Preprocess
) -> None:
    """Writes a checkpoint folder with an image tower of open_clip."""
    checkpoint.save(folder, "open_clip", tower, sizes, preprocess=preprocess.to_dict())


def open_clip(folder: str | Path) -> tuple[clip.CLIP, Preprocess, dict[str, Any]]:
    """Both towers in fp32 on the CPU, ready for training; the preprocessing; the rest of config.json."""
    saved = checkpoint.read(folder, ("clip",))
    model = saved.network(lambda sizes: clip.build(clip.CLIPConfig(**sizes)))
    return model, saved.part("preprocess", Preprocess.from_dict), saved.about


def vgg16_of(sizes: dict[str, Any]) -> vgg16.VGG16:
    return vgg16.VGG16(vgg16.VGG16Config(**sizes))
