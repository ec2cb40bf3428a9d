"""Choices between a processor's kernels: a forward and backward pass in the way stages train, and in another.

- Attention in bf16: torch's fused kernel, or the plain products that
  `captioning.core.device.attention_kernels` chooses. The shapes are those of the networks on eight images'
  captions, or on a batch of images.
- The small CLIP's image tower, in the sizes of `scenes`: all of it in channels_last memory, or its stem by
  channel, as `models.clip.build` makes it.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.table import Line, factor, ms
from benchmarks.turns import Run, Setup, in_turn
from captioning.core.device import autocast, has_fast_bf16, pick_device, pick_dtype
from captioning.core.errors import UserError
from models import clip

SHAPES = {  # rows, heads, positions, channels of a head
    "GPT-2, eight images' captions": (8, 12, 75, 64),
    "CLIP's text tower, 128 captions": (128, 8, 32, 64),
    "ViT-B/32, 64 images": (64, 12, 50, 64),
    "ViT-B/16, 16 images": (16, 12, 197, 64),
}
TOWER = clip.CLIPConfig(
    embed_dim=256, image_size=96, vision_layers=(1, 1, 1, 1), vision_width=16, vision_patch_size=None,
    context_length=24, vocab_size=1, text_width=64, text_layers=1,
)  # fmt: skip
IMAGES = 128  # of a batch of the tower
REPEATS = 5  # passes in a round


def attention(rounds: int, tiny: bool) -> list[Line]:
    if pick_device().type != "cpu" or not has_fast_bf16(pick_device()):
        raise UserError("it compares kernels of a processor with bf16 units")
    sides = {"fused": fused_attention, "plain": plain_attention}
    return [
        _compared(f"attention in bf16, {name}", sides, {"shape": (2, *shape[1:]) if tiny else shape}, rounds)
        for name, shape in SHAPES.items()
    ]


def stem(rounds: int, tiny: bool) -> list[Line]:
    if pick_device().type != "cpu":
        raise UserError("it compares layouts of a processor's memory; a GPU's stem stays in channels_last")
    path = f"small CLIP's image tower, {IMAGES} images, forward and backward"
    sides = {"all in channels_last": tower_as_it_is, "stem by channel": tower_by_channel}
    return [_compared(path, sides, {"images": 2 if tiny else IMAGES}, rounds)]


def _compared(path: str, sides: dict[str, Setup], sizes: dict[str, Any], rounds: int) -> Line:
    """Times both sides in turn; the second one is ours."""
    found = in_turn(sides, sizes, rounds)
    (other, theirs), (name, ours) = found.items()
    norms = [side.results[0]["gradient"] for side in (theirs, ours)]
    return Line(
        path=path,
        published=f"{ms(theirs.median / REPEATS)} ({other})",
        ours=f"{ms(ours.median / REPEATS)} ({name})",
        factor=factor(theirs, ours),
        goal="",
        check=f"gradient's norm {abs(norms[0] - norms[1]) / norms[0]:.0e} apart",
        figures=found,
    )


def fused_attention(sizes: dict[str, Any]) -> Run:
    return _attention(SDPBackend.FLASH_ATTENTION, sizes)


def plain_attention(sizes: dict[str, Any]) -> Run:
    return _attention(SDPBackend.MATH, sizes)


def _attention(kernel: SDPBackend, sizes: dict[str, Any]) -> Run:
    rows, heads, positions, width = sizes["shape"]
    generator = torch.Generator().manual_seed(0)
    made = torch.randn(3, rows, positions, heads, width, generator=generator)
    parts = [one.bfloat16().transpose(1, 2).requires_grad_() for one in made]  # (B, H, S, d) each

    def attend() -> Tensor:
        with sdpa_kernel(kernel):
            return F.scaled_dot_product_attention(*parts)

    return _passes(attend, parts)


def tower_as_it_is(sizes: dict[str, Any]) -> Run:
    torch.manual_seed(0)
    made = clip.build(TOWER).visual
    tower = clip.build_image_tower(TOWER)  # OpenAI's own
    tower.load_state_dict(made.state_dict())
    return _tower(tower, sizes)


def tower_by_channel(sizes: dict[str, Any]) -> Run:
    torch.manual_seed(0)
    return _tower(clip.build(TOWER).visual, sizes)


def _tower(tower: nn.Module, sizes: dict[str, Any]) -> Run:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(sizes["images"], 3, TOWER.image_size, TOWER.image_size, generator=generator)
    images = images.contiguous(memory_format=torch.channels_last)
    device = pick_device()
    tower.train()

    def embed() -> Tensor:
        with autocast(device, pick_dtype("auto", device)):
            return tower(images)

    return _passes(embed, tower.parameters())


def _passes(forward: Callable[[], Tensor], inputs: Iterable[Tensor]) -> Run:
    """Forward and backward passes; returns the norm of the gradients of `inputs`."""
    inputs = list(inputs)

    def run(turn: int) -> dict[str, Any]:
        for _ in range(REPEATS):
            gradients = torch.autograd.grad(forward().float().square().sum(), inputs)
        return {"gradient": torch.nn.utils.get_total_norm([one.float() for one in gradients]).item()}

    run(0)  # makes the kernels
    return run
