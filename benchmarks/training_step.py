"""ClipCap's training step on eight images' captions: packed, or one padded row per caption.

A step goes from the forward pass to the optimiser's update. What comes before the optimiser is timed by
itself, too: the optimiser's work does not depend on the captions. Both sides get the same captions of the
same images; each round has another eight images. Before the first round each computes the loss and the norm
of the gradient without dropout, which must agree.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks import material, networks, published
from benchmarks.table import Line, factor, ms
from benchmarks.turns import Run, Timed, in_turn, synchronize
from captioning.core.device import autocast, has_fast_bf16, pick_device
from captioning.core.malloc import keep_freed_memory
from captioning.training.batches import CaptionBatches
from captioning.training.step import Step, training_step
from models.clipcap import ClipCap

TUNED = {
    "title": "ClipCap training step, GPT-2 tuned, MLP, prefix 10",
    "mapping": "mlp",
    "prefix": 10,
    "freeze": False,
}
FROZEN = {
    "title": "ClipCap training step, GPT-2 frozen, transformer, prefix 40",
    "mapping": "transformer",
    "prefix": 40,
    "freeze": True,
}
DATASET = 6000  # images whose longest caption decides the published rows' length


def tuned(rounds: int, tiny: bool) -> list[Line]:
    return _measure(TUNED, rounds, tiny, goals={"fp32": "3.5 times", "bf16": "6 times"})


def frozen(rounds: int, tiny: bool) -> list[Line]:
    return _measure(FROZEN, rounds, tiny, goals={"fp32": "5 times, a third of the memory", "bf16": ""})


def _measure(sizes: dict[str, Any], rounds: int, tiny: bool, goals: dict[str, str]) -> list[Line]:
    sides = {"published": publishes, "fp32": ours_fp32}
    if has_fast_bf16(pick_device()):
        sides["bf16"] = ours_bf16
    images = 2 if tiny else 8
    found = in_turn(
        sides, sizes | {"tiny": tiny, "images": images, "dataset": 60 if tiny else DATASET}, rounds
    )
    theirs = found.pop("published")
    return [
        Line(
            path=f"{sizes['title']}, {5 * images} captions of {images} images, {name}",
            published=f"{ms(theirs.median)}, {theirs.peak / 2**30:.1f} GB",
            ours=f"{ms(side.median)}, {side.peak / 2**30:.1f} GB",
            factor=factor(theirs, side),
            goal=goals[name],
            check=f"{_compare(theirs, side, 1e-4 if name == 'fp32' else 2e-2)}; without the optimiser "
            f"{_passes(theirs) / _passes(side):.1f} times faster, "
            f"{side.peak / theirs.peak:.0%} of the memory",
            figures={
                "published": theirs, "ours": side, "memory": round(side.peak / theirs.peak, 3),
                "passes_seconds": {"published": round(_passes(theirs), 4), "ours": round(_passes(side), 4)},
            },
        )
        for name, side in found.items()
    ]  # fmt: skip


def _passes(side: Timed) -> float:
    """Seconds before the optimiser (forward, backward; ours clips, too), median of the rounds."""
    return statistics.median(result["passes"] for result in side.results)


def _compare(theirs: Timed, side: Timed, tolerance: float) -> str:
    a, b = theirs.results[0], side.results[0]
    loss, norm = (abs(a[key] - b[key]) / a[key] for key in ("loss", "gradient"))
    verdict = "" if max(loss, norm) < tolerance else " !"
    return f"loss {a['loss']:.5f} and {b['loss']:.5f}; gradient's norm {norm:.0e} apart{verdict}"


def publishes(sizes: dict[str, Any]) -> Run:
    device, text = pick_device(), material.gpt2_text()
    captions = material.tokens(text, sizes["dataset"])
    features = networks.features(len(captions), networks.CLIP_SIZE)
    model = published.as_published(_model(sizes)).to(device)
    dataset = published.PaddedCaptions(captions, features, sizes["prefix"])
    optimizer = published.optimizer_of(model)

    def batch(turn: int):
        items = [5 * image + i for image in _images(sizes, turn) for i in range(5)]
        columns = zip(*(dataset[item] for item in items), strict=True)
        return [torch.stack(column).to(device) for column in columns]

    model.eval()
    loss = published.training_loss(model, batch(0))
    loss.backward()
    checked = {"loss": loss.item(), "gradient": _norm(model)}
    published.training_step(model, optimizer, batch(0))  # makes the optimiser's moments
    model.train()

    def run(turn: int) -> dict[str, Any]:
        half = _Stopwatch()
        published.training_step(model, optimizer, batch(turn), half)
        return checked | {"passes": half.seconds}

    return run


def ours_fp32(sizes: dict[str, Any]) -> Run:
    return ours(sizes, torch.float32)


def ours_bf16(sizes: dict[str, Any]) -> Run:
    return ours(sizes, torch.bfloat16)


def ours(sizes: dict[str, Any], dtype: torch.dtype) -> Run:
    """The step of `captioning.training.loop`, on a batch of `captioning.training.batches`."""
    keep_freed_memory()  # as every stage
    device, text = pick_device(), material.gpt2_text()
    captions = material.tokens(text, sizes["dataset"])
    features = networks.features(len(captions), networks.CLIP_SIZE)
    batches = CaptionBatches(features.numpy(), captions, sizes["images"], 0, device)
    model = _model(sizes).to(device)
    half = _Stopwatch()
    step = step_of(model, dtype, half)

    model.eval()
    with autocast(device, dtype):
        loss = model.loss(*batches.take(_images(sizes, 0))).mean
    loss.backward()
    checked = {"loss": loss.item(), "gradient": _norm(model)}
    step(*batches.take(_images(sizes, 0)))
    model.train()

    def run(turn: int) -> dict[str, Any]:
        half.restart()
        step(*batches.take(_images(sizes, turn)))
        return checked | {"passes": half.seconds}

    return run


class _Stopwatch:
    """Seconds from its creation, or its last restart, to its call."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.start, self.seconds = time.perf_counter(), 0.0

    def __call__(self) -> None:
        synchronize()
        self.seconds = time.perf_counter() - self.start


def step_of(model: torch.nn.Module, dtype: torch.dtype, halfway: Callable[[], None] = lambda: None) -> Step:
    """The step of `captioning.training.loop`. `halfway` is called after clipping, before the optimiser."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-5, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    optimizer.register_step_pre_hook(lambda *_: halfway())
    return training_step(model, lambda *batch: model.loss(*batch).mean, optimizer, dtype, 1.0)


def _model(sizes: dict[str, Any]) -> ClipCap:
    return networks.clipcap(
        sizes["mapping"], sizes["prefix"], sizes["freeze"], networks.GPT2_VOCABULARY, sizes["tiny"]
    )


def _images(sizes: dict[str, Any], turn: int) -> np.ndarray:
    """The images of a round, the same for every side."""
    return np.random.default_rng(turn).integers(sizes["dataset"], size=sizes["images"])


def _norm(model: torch.nn.Module) -> float:
    """The norm of the mapping network's gradient, which every variant has. Then clears all gradients."""
    gradients = [parameter.grad for parameter in model.clip_project.parameters()]
    norm = torch.nn.utils.get_total_norm(gradients).item()
    model.zero_grad(set_to_none=True)
    return norm
