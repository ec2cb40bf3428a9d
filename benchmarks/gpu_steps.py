"""The training rows of `benchmarks.gpu`: a step of each network, alone and in the stages' own loop.

Steps come from `steps_of`, the only place that builds a step of cross-entropy.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import material, networks, published
from benchmarks.gpu_rows import Row, Scale, files, memory, seconds_of
from benchmarks.table import ms
from benchmarks.turns import synchronize
from captioning.core.errors import UserError
from captioning.core.java import find_java
from captioning.core.settings import TrainingSettings
from captioning.data.ptb_fast import quick_tokenize
from captioning.decoders.checkpoint import Decoder
from captioning.decoders.vocabulary import Text, word_vocabulary
from captioning.features.images import clip_preprocess
from captioning.features.pixels import PixelStore
from captioning.training import self_critical
from captioning.training.batches import CaptionBatches
from captioning.training.clip import move_masks
from captioning.training.finetune import augmented
from captioning.training.loop import Job, fit
from captioning.training.self_critical import SelfCritical
from captioning.training.step import recorded_step, training_step
from models import clip
from models.clipcap import ClipCap
from models.contrastive import contrastive_loss, same_pairs
from models.packed_trees import Trees

LONGEST = 32  # tokens of the longest of 256 captions of Flickr8k, rounded up to a multiple of 8


def steps_of(
    model: nn.Module, batches: CaptionBatches, dtype: torch.dtype, rate: float = 2e-5
) -> Callable[[np.ndarray], tuple[Tensor, Tensor]]:
    """A function that runs a training step on given images, as stages do. On a GPU it replays a recording.

    It returns loss and gradient norm. `rate` is the learning rate.
    """
    make = recorded_step if batches.device.type == "cuda" else training_step
    return _steps(make, model, batches, dtype, rate)


def eager_steps_of(
    model: nn.Module, batches: CaptionBatches, dtype: torch.dtype
) -> Callable[[np.ndarray], tuple[Tensor, Tensor]]:
    """The same, without a recording: one operation after the other."""
    return _steps(partial(training_step, cast=True), model, batches, dtype, 2e-5)


def _steps(make: Callable, model: nn.Module, batches: CaptionBatches, dtype: torch.dtype, rate: float):
    step = make(model, lambda *batch: model.loss(*batch).mean, optimizer_of(model, rate), dtype, 1.0)
    return lambda index: step(*batches.take(index, batches.buckets))


def optimizer_of(model: nn.Module, rate: float = 2e-5) -> torch.optim.Optimizer:
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=rate, betas=(0.9, 0.98), fused=True)


@cache
def gpt2_tokens(count: int) -> list[list[list[int]]]:
    return material.tokens(material.gpt2_text(), count)


def clipcap_data(scale: Scale, model: ClipCap, images: int, count: int) -> CaptionBatches:
    captions = gpt2_tokens(count)
    features = networks.features(count, networks.CLIP_SIZE).numpy()
    return CaptionBatches(features, captions, images, 0, scale.device, model.packing)


def clipcap(scale: Scale, mapping: str, prefix: int, freeze: bool) -> ClipCap:
    model = networks.clipcap(mapping, prefix, freeze, networks.GPT2_VOCABULARY, scale.tiny)
    return model.to(scale.device).train()


def step_tuned(scale: Scale) -> Iterator[Row]:
    yield from _clipcap_step(scale, "mlp", 10, False, goal="6 ms")


def step_frozen(scale: Scale) -> Iterator[Row]:
    yield from _clipcap_step(scale, "transformer", 40, True, goal="10 ms")


def _clipcap_step(scale: Scale, mapping: str, prefix: int, freeze: bool, goal: str) -> Iterator[Row]:
    images, count = 2 if scale.tiny else 8, 60 if scale.tiny else 2000
    memory()
    theirs = _published_step(scale, mapping, prefix, freeze, images)
    their_peak = memory()
    model = clipcap(scale, mapping, prefix, freeze)
    data = clipcap_data(scale, model, images, count)
    bare, peak = bare_seconds(scale, model, data), memory()
    title = (
        f"ClipCap step, GPT-2 {'frozen' if freeze else 'tuned'}, {mapping}, prefix {prefix}, {images} images"
    )
    figures = {
        "published": theirs, "bare": bare, "published_bytes": their_peak, "bytes": peak, "images": images,
    }  # fmt: skip
    yield Row(
        title, f"{ms(bare)}, {peak / 1e9:.1f} GB", goal, f"{ms(theirs)}, {their_peak / 1e9:.1f} GB", figures
    )
    stage = stage_seconds(scale, "train_clipcap", model, data)
    yield Row(f"the same in the stage's loop, {mapping}", f"{ms(stage)}, {stage / bare:.2f} of the bare step",
              "1.10", figures={"stage": stage, "bare": bare})  # fmt: skip


def bare_seconds(scale: Scale, model: nn.Module, data: CaptionBatches) -> float:
    """Seconds a step, on the batches of an epoch; recordings are made in earlier epochs."""
    step, batches = steps_of(model, data, scale.dtype), list(data.order(1, data.batch_size))
    return seconds_of(lambda: [step(index) for index in batches], 1, before=2) / len(batches)


def _published_step(scale: Scale, mapping: str, prefix: int, freeze: bool, images: int) -> float:
    """Seconds for a step of the authors' fp32 loop, with their own loader and equally many captions."""
    count = 60 if scale.tiny else 2000
    captions, features = gpt2_tokens(count), networks.features(count, networks.CLIP_SIZE)
    model = published.as_published(clipcap(scale, mapping, prefix, freeze))
    optimizer = published.optimizer_of(model)
    loader = iter(published.training_loader(published.PaddedCaptions(captions, features, prefix), 5 * images))

    def step() -> None:
        published.training_step(model, optimizer, [column.to(scale.device) for column in next(loader)])

    return seconds_of(step, scale.steps)


def stage_seconds(scale: Scale, name: str, model: nn.Module, data: CaptionBatches) -> float:
    """Seconds a step in the stages' own loop, from an epoch's first batch to its scores.

    The faster of the second and third epoch counts: rare shapes of batches are recorded late.
    """
    marks: list[float] = []

    def mark() -> None:
        synchronize()
        marks.append(time.perf_counter())

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        mark()
        return data.epoch(epoch)

    def evaluate() -> dict[str, float]:
        mark()
        return {"dev_loss": 1.0}

    job = Job(name=name, model=model, loss=lambda *batch: model.loss(*batch).mean, batches=batches,
              steps=data.steps(data.batch_size), evaluate=evaluate, monitor="dev_loss", inputs="benchmark",
              recordable=True)  # fmt: skip
    options = TrainingSettings(epochs=3, batch_size=data.batch_size, lr=2e-5, weight_decay=0.01, warmup=0.1,
                               clip_norm=1.0, patience=9, precision="auto")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        fit(job, options, seed=0)
    return min(marks[-3] - marks[-4], marks[-1] - marks[-2]) / job.steps


def step_by_images(scale: Scale) -> Iterator[Row]:
    """The tuned step by number of images, with its MFU (only matrix products with weights count)."""
    count = 60 if scale.tiny else 2000
    model = clipcap(scale, "mlp", 10, False)
    for images in (2, 4) if scale.tiny else (8, 16, 32, 64, 128, 256):
        memory()
        data, index = clipcap_data(scale, model, images, count), np.arange(images)
        step = steps_of(model, data, scale.dtype)
        seconds = seconds_of(lambda step=step, index=index: step(index), scale.steps)
        captions = data.tokens[:images].long()
        rate, tokens = flops_of(model, captions) / seconds, int((captions >= 0).sum()) / seconds
        share = f"{rate / scale.peak:.0%} of peak" if scale.peak else "peak not known"
        figures = {"images": images, "seconds": seconds, "flops": rate, "tokens": tokens, "bytes": memory()}
        goal = "35% of peak" if images == 64 else ""
        yield Row(f"ClipCap step, tuned, {images} images", f"{ms(seconds)}, {share}", goal, figures=figures)


def flops_of(model: ClipCap, captions: Tensor) -> float:
    """FLOPs of a step's products with weights. Per weight and row: 2 forward, 2 for each of two gradients."""
    trees, gpt, prefix = Trees(captions.cpu().numpy(), 0), model.gpt, model.config.prefix_len
    images, nodes = len(captions), int(trees.node_counts.sum())
    each = 4 if model.config.freeze_gpt2 else 6

    def matrices(network: nn.Module) -> int:
        return sum(weight.numel() for weight in network.parameters() if weight.ndim > 1)

    mapping = model.clip_project
    if model.config.mapping == "mlp":
        mapped = images * matrices(mapping)
    else:
        cells = images * (prefix + model.config.clip_len)
        mapped = images * mapping.linear.weight.numel() + cells * matrices(mapping.transformer)
    return (
        each * matrices(gpt.transformer.h) * (images * prefix + nodes)
        + each * gpt.lm_head.weight.numel() * (images + nodes)
        + 6 * mapped
    )


@cache
def _words(scale: Scale) -> tuple[Text, list[list[str]]]:
    captions = [
        [one.lower().rstrip(" .") for one in five] for five in material.captions(80 if scale.tiny else 2000)
    ]
    return word_vocabulary((one for five in captions for one in five), 2 if scale.tiny else 5), captions


def lstm_and_data(scale: Scale, images: int) -> tuple[Callable[[], nn.Module], CaptionBatches]:
    """A function that builds an LSTM, and batches for it."""
    text, captions = _words(scale)
    features = networks.features(len(captions), networks.FC7_SIZE)

    def build() -> nn.Module:
        return networks.lstm(text.size, scale.tiny).to(scale.device).train()

    encoded = [text.encode(five) for five in captions]
    return build, CaptionBatches(features.numpy(), encoded, images, 0, scale.device, build().packing)


def step_lstm(scale: Scale) -> Iterator[Row]:
    images = 4 if scale.tiny else 16
    build, data = lstm_and_data(scale, images)
    model = build()
    bare = bare_seconds(scale, model, data)
    yield Row(f"LSTM step, {images} images", ms(bare), "3 ms", figures={"bare": bare, "images": images})
    stage = stage_seconds(scale, "train_lstm", model, data)
    yield Row("the same in the stage's loop, LSTM", f"{ms(stage)}, {stage / bare:.2f} of the bare step",
              "1.10", figures={"stage": stage, "bare": bare})  # fmt: skip


def self_critical_decoders(scale: Scale) -> Iterator[tuple[Decoder, list[list[str]], Tensor]]:
    """The LSTM and the tuned ClipCap, with captions and the features of 16 images."""
    images, (text, captions) = 2 if scale.tiny else 16, _words(scale)
    model = networks.lstm(text.size, scale.tiny).to(scale.device).train()
    features = networks.features(images, networks.FC7_SIZE).to(scale.device)
    yield Decoder("lstm", model, text, {}, {}), captions, features
    model = clipcap(scale, "mlp", 10, False)
    features = networks.features(images, networks.CLIP_SIZE).to(scale.device)
    yield Decoder("clipcap", model, material.gpt2_text(), {}, {}), captions, features


def step_self_critical(scale: Scale) -> Iterator[Row]:
    """A step of the second phase. Random weights never end a caption, so all have 40 tokens."""
    make = recorded_step if scale.device.type == "cuda" else training_step
    tokenizer, note = quick_tokenize, ""
    try:
        find_java()
    except UserError:
        tokenizer, note = list, "; words split at blanks, without Java"
    for decoder, captions, features in self_critical_decoders(scale):
        critic, index = SelfCritical(decoder, captions, samples=5, fixed=True), np.arange(len(features))
        optimizer, chances = optimizer_of(decoder.model), critic.chances(0, 0, index)
        step = make(decoder.model, critic.loss, optimizer, scale.dtype, 1.0, prepare=critic.prepare)
        with mock.patch.object(self_critical, "quick_tokenize", tokenizer):
            seconds = seconds_of(
                lambda step=step, batch=(features, index, chances): step(*batch), scale.steps
            )
        yield Row(f"self-critical step, {decoder.kind}, {len(index)} images of 5 samples{note}", ms(seconds),
                  "60 ms", figures={"seconds": seconds})  # fmt: skip


def step_clip(scale: Scale) -> Iterator[Row]:
    """CLIP fine-tuning from photographs in memory, with a full-size text tower and captions as long as
    Flickr8k's.
    """
    pairs, count = (4, 8) if scale.tiny else (256, 1024)
    side, layers, width = (64, 2, 64) if scale.tiny else (224, 12, 768)
    text_width, text_layers = (64, 1) if scale.tiny else (512, 12)
    config = clip.CLIPConfig(512, side, layers, width, 32, 77, 49408, text_width, text_layers)
    model, preprocess = clip.build(config).to(scale.device).train(), clip_preprocess(side)
    move_masks(model, scale.device)
    with files(scale, count) as sizes:
        pixels = PixelStore(sizes["paths"], preprocess, sizes["workers"], device=scale.device)
    texts = torch.randint(1, 49407, (count, LONGEST))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)

    def loss(images: Tensor, texts: Tensor, shown: Tensor) -> Tensor:
        texts, shown = (one.to(scale.device, non_blocking=True) for one in (texts, shown))
        image_embeddings = model.encode_image(preprocess.normalize(images))
        same = same_pairs(shown, texts)
        return contrastive_loss(image_embeddings, model.encode_text(texts), model.logit_scale, same)

    step = training_step(model, loss, optimizer, scale.dtype, 1.0)

    def epoch() -> None:
        for images, index in augmented(pixels, torch.ones(count, dtype=torch.bool), pairs, 0, 0):
            step(images, texts[index], torch.from_numpy(index))

    seconds = seconds_of(epoch, 1 if scale.tiny else 5, before=1) / count * pairs
    yield Row(f"CLIP fine-tuning, {pairs} pairs a step", f"{pairs / seconds:,.0f} pairs/s", "5,000 pairs/s",
              figures={"seconds": seconds, "pairs": pairs})  # fmt: skip
