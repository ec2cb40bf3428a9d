"""Image encoders as the pipeline uses them: checkpoint folders, and networks that turn pixels into features.

A checkpoint is a folder with `config.json` (sizes and preprocessing) and `model.safetensors`. The fine-tuning stages
write `checkpoints/vgg16` and `checkpoints/clip`; the extraction stages and the app read them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from captioning.core.code import closure, hash_of_files
from captioning.core.device import pick_device, pick_dtype
from captioning.core.errors import UserError, opening
from captioning.core.files import atomic_write, sha256_of, write_json
from captioning.features.images import Preprocess
from models import clip, vgg16
from models.empty import no_weights


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
        """Features (B, D), or (B, H, W, C) of a grid, float32 on the encoder's device, of bytes (B, 3, S, S)."""
        images = self.preprocess.normalize(pixels.to(self.device, non_blocking=True))
        features = self.forward(images.to(self.dtype)).float()
        return F.normalize(features, dim=-1) if self.l2_normalize else features


def load_vgg16(
    folder: str | Path, layer: str = "fc7", precision: str = "auto", device: torch.device | None = None
) -> Encoder:
    """The encoder in a checkpoint folder, giving fc7 (B, 4096 * width) or conv5_3 (B, S/16, S/16, 512 * width)."""
    network, preprocess, config = open_vgg16(folder)
    forward = {"fc7": network.fc7, "conv5_3": network.conv5_3}[layer]
    attributes = {"encoder": f"vgg16 width {config['width']:g}", "layer": layer}
    return _encoder("models.vgg16", network, forward, preprocess, attributes, folder, precision, device)


def load_clip(
    folder: str | Path, normalize: bool = True, precision: str = "auto", device: torch.device | None = None
) -> Encoder:
    """The image tower in a checkpoint folder, giving (B, embed_dim), of length 1 with `normalize`."""
    config = _read_config(folder, "clip")
    sizes = _sizes(clip.CLIPConfig, config, folder)
    with no_weights():
        tower = clip.build_image_tower(sizes)
    weights = _read_weights(folder, prefix="visual.")
    _fit(lambda: clip.load(tower, weights), folder)
    attributes = {"encoder": f"clip {_shape(sizes)}", "layer": "image embedding"}
    preprocess = Preprocess.from_dict(config["preprocess"])
    return _encoder("models.clip", tower.eval(), tower, preprocess, attributes, folder, precision, device, normalize)


def _shape(sizes: clip.CLIPConfig) -> str:
    layers = "-".join(map(str, sizes.vision_layers)) if sizes.is_resnet else sizes.vision_layers
    kind = "resnet" if sizes.is_resnet else f"vit/{sizes.vision_patch_size}"
    return f"{kind} {layers} layers, width {sizes.vision_width}, {sizes.embed_dim} dimensions"


def _encoder(
    model: str,
    network: nn.Module,
    forward: Callable[[Tensor], Tensor],
    preprocess: Preprocess,
    attributes: dict[str, str],
    folder: str | Path,
    precision: str,
    device: torch.device | None,
    normalize: bool = False,
) -> Encoder:
    device = device or pick_device()
    dtype = pick_dtype(precision, device)
    network.requires_grad_(False).eval().to(device=device, memory_format=torch.channels_last)
    cast_products(network, dtype)
    attributes |= {
        "weights": sha256_of(Path(folder) / "model.safetensors"),
        "preprocessing": preprocess.describe(),
        "normalization": "l2" if normalize else "none",
        "precision": str(dtype).removeprefix("torch."),
        "device": device.type,
        "libraries": ", ".join(f"{name} {version(name)}" for name in ("torch", "pillow")),
    }
    here = Path(__file__).parent
    ours = [here / f"{name}.py" for name in ("images", "pixels", "jpeg", "encode", "encoders")]
    code = hash_of_files([*ours, *closure(model, here.parents[1])])
    return Encoder(forward, preprocess, attributes, device, dtype, code, normalize)


def cast_products(network: nn.Module, dtype: torch.dtype) -> None:
    """Casts what enters matrix products and convolutions, as autocast would at every call; norms stay in float32."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.to(dtype)
        elif isinstance(module, nn.MultiheadAttention):
            module.in_proj_weight.data = module.in_proj_weight.data.to(dtype)
            module.in_proj_bias.data = module.in_proj_bias.data.to(dtype)
        elif isinstance(module, clip.VisionTransformer):
            module.proj.data = module.proj.data.to(dtype)


# Checkpoint folders


def save_vgg16(folder: str | Path, network: vgg16.VGG16, preprocess: Preprocess, **extra: object) -> None:
    """Writes a checkpoint folder; `extra` (scores, labels, ...) goes into its config.json."""
    _save(folder, "vgg16", network, asdict(network.config), preprocess, extra)


def open_vgg16(folder: str | Path) -> tuple[vgg16.VGG16, Preprocess, dict]:
    """The whole network in fp32 on the CPU, ready for training, its preprocessing and its config.json."""
    config = _read_config(folder, "vgg16")
    sizes = _sizes(vgg16.VGG16Config, config, folder)
    with no_weights():
        network = vgg16.VGG16(sizes)
    weights = _read_weights(folder)
    _fit(lambda: network.load_state_dict(weights, assign=True), folder)
    return network, Preprocess.from_dict(config["preprocess"]), config


def save_clip(folder: str | Path, model: clip.CLIP, preprocess: Preprocess, **extra: object) -> None:
    """Writes a checkpoint folder with both towers; `extra` goes into its config.json."""
    sizes = replace(clip.config_of(model.state_dict()), activation=clip.activation_of(model))
    _save(folder, "clip", model, asdict(sizes), preprocess, extra)


def open_clip(folder: str | Path) -> tuple[clip.CLIP, Preprocess, dict]:
    """Both towers in fp32 on the CPU, ready for training, the preprocessing and config.json."""
    config = _read_config(folder, "clip")
    weights = _read_weights(folder)
    activation = _sizes(clip.CLIPConfig, config, folder).activation
    model = _fit(lambda: clip.from_state_dict(weights, activation), folder)
    return model, Preprocess.from_dict(config["preprocess"]), config


def _save(folder, kind: str, network: nn.Module, sizes: dict, preprocess: Preprocess, extra: dict) -> None:
    folder = Path(folder)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_write(folder / "model.safetensors", "wb") as file:
        save_file(weights, file.name, metadata={"format": "pt"})
    write_json(folder / "config.json", {"network": kind, **sizes, "preprocess": preprocess.to_dict(), **extra})


def _read_config(folder: str | Path, kind: str) -> dict:
    path = Path(folder) / "config.json"
    with opening(
        path, f"the config of a {kind} checkpoint", f"stage finetune_{kind} writes it: `dvc repro finetune_{kind}`"
    ):
        config = json.loads(path.read_text(encoding="utf-8"))
        found = config["network"]
        Preprocess.from_dict(config["preprocess"])
    if found != kind:
        raise UserError(f"{path} describes a {found} network; a {kind} is needed")
    return config


def _sizes(kind: type, config: dict, folder: str | Path):
    with opening(f"{folder}/config.json", "a description of the network", "remove it and run `dvc repro`"):
        return kind(**{name: config[name] for name in kind.__dataclass_fields__ if name in config})


def _read_weights(folder: str | Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    path = Path(folder) / "model.safetensors"
    advice = "remove it and run `dvc repro`, whose fine-tuning stages write it"
    with opening(path, "a file of weights", advice), safe_open(path, "pt") as file:
        return {n.removeprefix(prefix): file.get_tensor(n) for n in file.keys() if n.startswith(prefix)}  # noqa: SIM118


def _fit(load: Callable, folder: str | Path):
    try:
        return load()
    except (ValueError, RuntimeError, TypeError) as error:
        fault = str(error).splitlines()[-1].strip()
        raise UserError(f"{folder}: model.safetensors does not fit config.json: {fault}") from None
