"""The cost of putting a training batch together, as a share of its training step, for both decoders.

Ours is an epoch of `captioning.training.batches`; the published way is a data loader over padded captions,
one row per caption. Both are divided by our step time in the fastest precision, where input matters most.
Our batches hold padded captions, so packing them counts as part of the step, not of the input.
"""

import itertools
import time
from typing import Any

import torch

from benchmarks import material, networks, published
from benchmarks.table import Line, ms
from benchmarks.training_step import step_of
from benchmarks.turns import Run, in_turn
from captioning.core.device import pick_device, pick_dtype
from captioning.core.malloc import keep_freed_memory
from captioning.decoders.vocabulary import word_vocabulary
from captioning.training.batches import CaptionBatches

DECODERS = {"LSTM": 16, "ClipCap": 8}  # images in a batch
STEPS = 10  # steps; their mean time counts


def decoder_input(rounds: int, tiny: bool) -> list[Line]:
    lines = []
    for decoder, images in DECODERS.items():
        sizes = {"tiny": tiny, "decoder": decoder, "images": images, "dataset": 160 if tiny else 6000}
        sizes["batches"] = 5 if tiny else 300
        found = in_turn(
            {"published": publishes, "ours": ours}, sizes | {"steps": 2 if tiny else STEPS}, rounds
        )
        step = found["ours"].results[-1]["step"]
        theirs, mine = found["published"].median, found["ours"].median
        line = Line(
            path=f"{decoder}'s input, a batch of {images} images",
            published=f"{ms(theirs)}, {theirs / step:.1%} of a step",
            ours=f"{ms(mine)}, {mine / step:.2%} of a step",
            factor=theirs / mine,
            goal="under 2% of a step",
            check=f"a step takes {ms(step)}",
            figures=found | {"step_seconds": round(step, 5), "share_of_step": round(mine / step, 5)},
        )
        lines.append(line)
    return lines


def publishes(sizes: dict[str, Any]) -> Run:
    captions, features, _ = _data(sizes)
    loader = published.training_loader(
        published.PaddedCaptions(captions, features.float(), 10), 5 * sizes["images"]
    )
    return lambda turn: _per_batch(iter(loader), sizes)


def ours(sizes: dict[str, Any]) -> Run:
    keep_freed_memory()  # as every stage
    captions, features, vocabulary = _data(sizes)
    device = pick_device()
    batches = CaptionBatches(features.numpy(), captions, sizes["images"], 0, device)
    if sizes["decoder"] == "LSTM":
        model = networks.lstm(vocabulary, sizes["tiny"])
    else:
        model = networks.clipcap("mlp", 10, False, vocabulary, sizes["tiny"])
    step = step_of(model.to(device).train(), pick_dtype("auto", device))
    step(*next(batches.epoch(0)))
    for batch in itertools.islice(batches.epoch(1), 3):  # warm-up: kernels for other sizes
        step(*batch)

    def run(turn: int) -> dict[str, Any]:
        some = list(itertools.islice(batches.epoch(turn), sizes["steps"]))
        start = time.perf_counter()
        for batch in some:
            step(*batch)
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken = (time.perf_counter() - start) / len(some)
        return _per_batch(batches.epoch(turn), sizes) | {"step": taken}

    return run


def _per_batch(batches, sizes: dict[str, Any]) -> dict[str, Any]:
    """Seconds a batch over the first of an epoch, drawing its order included."""
    start = time.perf_counter()
    count = sum(1 for _ in itertools.islice(batches, sizes["batches"]))
    return {"seconds": (time.perf_counter() - start) / count}


def _data(sizes: dict[str, Any]) -> tuple[list[list[list[int]]], torch.Tensor, int]:
    """Token ids, float16 features and the vocabulary's size, as the decoder wants them."""
    count = sizes["dataset"]
    if sizes["decoder"] == "ClipCap":
        text = material.gpt2_text()
        return (
            material.tokens(text, count),
            networks.features(count, networks.CLIP_SIZE).half(),
            networks.GPT2_VOCABULARY,
        )
    lower = [[caption.lower() for caption in of_image] for of_image in material.captions(count)]
    text = word_vocabulary((caption for of_image in lower for caption in of_image), 5)
    return (
        [text.encode(of_image) for of_image in lower],
        networks.features(count, networks.FC7_SIZE).half(),
        text.size,
    )
