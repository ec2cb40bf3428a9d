"""Small ClipCap checkpoints in the authors' published form."""

from pathlib import Path

import torch
from official import wave
from torch import Tensor

SIZE, PREFIX, VOCABULARY, WIDTH = 16, 4, 300, 128


def shapes(mapping: str) -> dict[str, tuple[int, ...]]:
    """The shape of every weight that the authors' `ClipCaptionModel` saves, for a GPT-2 of two layers and 32
    positions."""
    w = WIDTH
    found = {"gpt.transformer.wte.weight": (VOCABULARY, w), "gpt.transformer.wpe.weight": (32, w)}
    for layer in (0, 1):
        block = f"gpt.transformer.h.{layer}."
        for name, shape in {"ln_1": (w,), "ln_2": (w,)}.items():
            found |= {f"{block}{name}.weight": shape, f"{block}{name}.bias": shape}
        for name, (rows, columns) in {
            "attn.c_attn": (w, 3 * w), "attn.c_proj": (w, w),
            "mlp.c_fc": (w, 4 * w), "mlp.c_proj": (4 * w, w),
        }.items():  # fmt: skip
            found |= {f"{block}{name}.weight": (rows, columns), f"{block}{name}.bias": (columns,)}
    found |= {"gpt.transformer.ln_f.weight": (w,), "gpt.transformer.ln_f.bias": (w,)}
    if mapping == "mlp":
        half, full = w * PREFIX // 2, w * PREFIX
        found |= {"clip_project.model.0.weight": (half, SIZE), "clip_project.model.0.bias": (half,)}
        return found | {"clip_project.model.2.weight": (full, half), "clip_project.model.2.bias": (full,)}
    found |= {"clip_project.prefix_const": (PREFIX, w)}
    found |= {"clip_project.linear.weight": (3 * w, SIZE), "clip_project.linear.bias": (3 * w,)}
    for layer in (0, 1):
        block = f"clip_project.transformer.layers.{layer}."
        for name in ("norm1", "norm2"):
            found |= {f"{block}{name}.weight": (w,), f"{block}{name}.bias": (w,)}
        found |= {f"{block}attn.to_queries.weight": (w, w), f"{block}attn.to_keys_values.weight": (2 * w, w)}
        for name, (out, size) in {
            "attn.project": (w, w),
            "mlp.fc1": (2 * w, w),
            "mlp.fc2": (w, 2 * w),
        }.items():
            found |= {f"{block}{name}.weight": (out, size), f"{block}{name}.bias": (out,)}
    return found


def published(path: Path, mapping: str, **changes: Tensor | None) -> Path:
    """Writes a file in the authors' form: `torch.save` of a state dict, old transformers' masks among the
    weights."""
    weights = {name: wave(name, shape) for name, shape in shapes(mapping).items()}
    weights["gpt.lm_head.weight"] = weights["gpt.transformer.wte.weight"]
    for layer in (0, 1):
        weights[f"gpt.transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 32, 32, dtype=torch.uint8).tril()
        weights[f"gpt.transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    weights |= changes
    torch.save({name: tensor for name, tensor in weights.items() if tensor is not None}, path)
    return path
