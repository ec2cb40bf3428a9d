"""A training pass of the small CLIP's image tower: all of it in channels_last memory, or its stem by channel.

Stages train with what `models.clip.build` makes of a narrow stem. The sizes are those of `scenes`.
"""

from typing import Any

import torch
from torch import nn

from benchmarks.table import Line, factor, ms
from benchmarks.turns import Run, in_turn
from captioning.core.device import autocast, pick_device, pick_dtype
from captioning.core.errors import UserError
from models import clip

TOWER = clip.CLIPConfig(
    embed_dim=256, image_size=96, vision_layers=(1, 1, 1, 1), vision_width=16, vision_patch_size=None,
    context_length=24, vocab_size=1, text_width=64, text_layers=1,
)  # fmt: skip
IMAGES, REPEATS = 128, 3  # of a batch; passes in a round


def stem(rounds: int, tiny: bool) -> list[Line]:
    if pick_device().type != "cpu":
        raise UserError("it compares layouts of a processor's memory; a GPU's stem stays in channels_last")
    found = in_turn({"whole": whole_passes, "stem": stem_passes}, {"images": 2 if tiny else IMAGES}, rounds)
    whole, ours = found["whole"], found["stem"]
    norms = [side.results[0]["gradient"] for side in (whole, ours)]
    return [
        Line(
            path=f"small CLIP's image tower, {IMAGES} images, forward and backward",
            published=f"{ms(whole.median / REPEATS)} (all in channels_last)",
            ours=f"{ms(ours.median / REPEATS)} (stem by channel)",
            factor=factor(whole, ours),
            goal="",
            check=f"gradient's norm {abs(norms[0] - norms[1]) / norms[0]:.0e} apart",
            figures=found,
        )
    ]


def whole_passes(sizes: dict[str, Any]) -> Run:
    torch.manual_seed(0)
    made = clip.build(TOWER).visual
    tower = clip.build_image_tower(TOWER)  # OpenAI's own
    tower.load_state_dict(made.state_dict())
    return _passes(tower, sizes)


def stem_passes(sizes: dict[str, Any]) -> Run:
    torch.manual_seed(0)
    return _passes(clip.build(TOWER).visual, sizes)


def _passes(tower: nn.Module, sizes: dict[str, Any]) -> Run:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(sizes["images"], 3, TOWER.image_size, TOWER.image_size, generator=generator)
    images = images.contiguous(memory_format=torch.channels_last)
    weights = list(tower.train().parameters())
    device = pick_device()

    def run(turn: int) -> dict[str, Any]:
        for _ in range(REPEATS):
            with autocast(device, pick_dtype("auto", device)):
                embeddings = tower(images)
            found = torch.autograd.grad(embeddings.float().square().sum(), weights)
        return {"gradient": torch.nn.utils.get_total_norm(found).item()}

    run(0)  # makes the kernels
    return run
