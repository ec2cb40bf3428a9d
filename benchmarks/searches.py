"""Beam search: images together with cached keys and values, or one by one with the whole sequence each step.

Random weights never end a caption, so every search runs to the maximum length, and both sides do all steps.
The published search takes one image at a time. It runs on a few images; the time given is scaled to all
images.
"""

from typing import Any

import torch

from benchmarks import material, networks, published
from benchmarks.networks import NEVER
from benchmarks.table import Line, ms
from benchmarks.turns import Run, Setup, in_turn
from captioning.core.device import pick_device
from captioning.core.malloc import keep_freed_memory
from captioning.decoders.vocabulary import word_vocabulary
from captioning.search.base import Rules
from captioning.search.beam import beam_search

BEAMS = 5


def gpt2(rounds: int, tiny: bool) -> list[Line]:
    sizes = {"tiny": tiny, "images": 4 if tiny else 64, "some": 2, "tokens": 4 if tiny else 20}
    return [_measure("Beam search, GPT-2, prefix 10", publishes_gpt2, ours_gpt2, sizes, rounds)]


def lstm(rounds: int, tiny: bool) -> list[Line]:
    sizes = {
        "tiny": tiny,
        "images": 8 if tiny else 256,
        "some": 4 if tiny else 32,
        "tokens": 4 if tiny else 20,
    }
    return [_measure("Beam search, LSTM", publishes_lstm, ours_lstm, sizes, rounds)]


def _measure(title: str, theirs: Setup, ours: Setup, sizes: dict[str, Any], rounds: int) -> Line:
    found = in_turn({"published": theirs, "ours": ours}, sizes, rounds)
    a, b = found["published"], found["ours"]
    images, some = sizes["images"], sizes["some"]
    whole = a.median * images / some
    pairs = list(zip(a.results[0]["captions"], b.results[0]["captions"], strict=False))
    same = sum(x == y for x, y in pairs)
    return Line(
        path=f"{title}, width {BEAMS}, {images} images, {sizes['tokens']} tokens",
        published=f"{ms(whole)} (from {some} images)",
        ours=ms(b.median),
        factor=whole / b.median,
        goal="10 times",
        check=f"{same} of {len(pairs)} captions the same",
        figures={"published": a, "published_images": some, "ours": b, "ours_images": images},
    )


def publishes_gpt2(sizes: dict[str, Any]) -> Run:
    model, features = _clipcap(sizes)
    gpt = networks.library_gpt2(model.gpt)

    @torch.no_grad()
    def run(turn: int) -> dict[str, Any]:
        prefixes = (model.prefix(one[None]) for one in features[: sizes["some"]])
        found = [published.beam_search(gpt, p, BEAMS, sizes["tokens"], NEVER)[0] for p in prefixes]
        return {"captions": found}

    published.beam_search(gpt, model.prefix(features[:1]), BEAMS, 2, NEVER)
    return run


def ours_gpt2(sizes: dict[str, Any]) -> Run:
    return _ours(*_clipcap(sizes), sizes)


def publishes_lstm(sizes: dict[str, Any]) -> Run:
    model, features = _lstm(sizes)

    def run(turn: int) -> dict[str, Any]:
        some = features[: sizes["some"]]
        found = [
            published.lstm_beam_search(model, one[None], BEAMS, sizes["tokens"], NEVER)[0] for one in some
        ]
        return {"captions": found}

    published.lstm_beam_search(model, features[:1], BEAMS, 2, NEVER)
    return run


def ours_lstm(sizes: dict[str, Any]) -> Run:
    return _ours(*_lstm(sizes), sizes)


def _ours(model: torch.nn.Module, features: torch.Tensor, sizes: dict[str, Any]) -> Run:
    """Batches of 64 images, as stage generate has them."""
    keep_freed_memory()  # as every stage

    def run(turn: int) -> dict[str, Any]:
        found = [
            hypotheses[0].tokens
            for part in features.split(64)
            for hypotheses in beam_search(
                model, part, Rules(beam_size=BEAMS, max_tokens=sizes["tokens"], eos_id=NEVER)
            )
        ]
        return {"captions": found[: sizes["some"]]}

    beam_search(model, features[:2], Rules(beam_size=BEAMS, max_tokens=2, eos_id=NEVER))
    return run


def _clipcap(sizes: dict[str, Any]) -> tuple[torch.nn.Module, torch.Tensor]:
    model = networks.clipcap("mlp", 10, False, networks.GPT2_VOCABULARY, sizes["tiny"])
    return model.eval().to(pick_device()), networks.features(sizes["images"], networks.CLIP_SIZE).to(
        pick_device()
    )


def _lstm(sizes: dict[str, Any]) -> tuple[torch.nn.Module, torch.Tensor]:
    texts = (
        caption.lower()
        for of_image in material.captions(60 if sizes["tiny"] else 6000)
        for caption in of_image
    )
    model = networks.lstm(word_vocabulary(texts, 5).size, sizes["tiny"]).eval().to(pick_device())
    return model, networks.features(sizes["images"], networks.FC7_SIZE).to(pick_device())
