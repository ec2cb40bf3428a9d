"""Attention's forward and backward pass in bf16 on a processor: torch's fused kernel, or plain products.

Stages train with what `captioning.core.device.attention_kernels` chooses, plain products in bf16. The shapes
are those of the networks on eight images' captions, or on a batch of images.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.table import Line, factor, ms
from benchmarks.turns import Run, in_turn
from captioning.core.device import has_fast_bf16, pick_device
from captioning.core.errors import UserError

SHAPES = {  # rows, heads, positions, channels of a head
    "GPT-2, eight images' captions": (8, 12, 75, 64),
    "CLIP's text tower, 128 captions": (128, 8, 32, 64),
    "ViT-B/32, 64 images": (64, 12, 50, 64),
    "ViT-B/16, 16 images": (16, 12, 197, 64),
}
REPEATS = 5  # passes in a round


def attention(rounds: int, tiny: bool) -> list[Line]:
    if pick_device().type != "cpu" or not has_fast_bf16(pick_device()):
        raise UserError("it compares kernels of a processor with bf16 units")
    lines = []
    for name, shape in SHAPES.items():
        sizes = {"shape": (2, *shape[1:]) if tiny else shape}
        found = in_turn({"fused": fused_passes, "plain": plain_passes}, sizes, rounds)
        fused, plain = found["fused"], found["plain"]
        norms = [side.results[0]["gradient"] for side in (fused, plain)]
        lines.append(
            Line(
                path=f"attention in bf16, {name}",
                published=f"{ms(fused.median / REPEATS)} (fused)",
                ours=f"{ms(plain.median / REPEATS)} (plain)",
                factor=factor(fused, plain),
                goal="",
                check=f"gradient's norm {abs(norms[0] - norms[1]) / norms[0]:.0e} apart",
                figures=found,
            )
        )
    return lines


def fused_passes(sizes: dict[str, Any]) -> Run:
    return _passes(SDPBackend.FLASH_ATTENTION, sizes)


def plain_passes(sizes: dict[str, Any]) -> Run:
    return _passes(SDPBackend.MATH, sizes)


def _passes(kernel: SDPBackend, sizes: dict[str, Any]) -> Run:
    rows, heads, positions, width = sizes["shape"]
    generator = torch.Generator().manual_seed(0)
    made = torch.randn(3, rows, positions, heads, width, generator=generator)
    parts = [one.bfloat16().transpose(1, 2).requires_grad_() for one in made]  # (B, H, S, d) each

    def run(turn: int) -> dict[str, Any]:
        for _ in range(REPEATS):
            with sdpa_kernel(kernel):
                out = F.scaled_dot_product_attention(*parts)
                found = torch.autograd.grad(out.float().square().sum(), parts)
        return {"gradient": torch.nn.utils.get_total_norm([one.float() for one in found]).item()}

    run(0)  # makes the kernels
    return run
