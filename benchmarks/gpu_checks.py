"""The checks of `benchmarks.gpu`: whether the numbers are right, and where a step's time goes.

Rows are as in `benchmarks.gpu_rows`. The line of a failed check has an exclamation mark.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks import extraction, networks, published
from benchmarks.gpu_inference import decoded
from benchmarks.gpu_rows import Row, Scale, files, seconds_of
from benchmarks.gpu_steps import (
    clipcap,
    clipcap_data,
    eager_steps_of,
    gpt2_tokens,
    lstm_and_data,
    self_critical_decoders,
    steps_of,
)
from benchmarks.turns import synchronize
from captioning.core.device import autocast
from captioning.features.encode import encode
from captioning.features.encoders import load_clip, load_vgg16
from captioning.features.pixels import ImageFiles, pixel_batches
from captioning.search.base import Rules
from captioning.search.sampling import FixedSampler, sample
from captioning.training.graphs import Recorded

SAME_CAPTIONS = 0.95  # least share of equal captions: rounding may choose another word
SAME_STEPS = 0.999  # least cosine between the weight changes of two ways to run the same steps
LOADED = 0.999  # least cosine between features from a GPU's JPEG decoder and a processor's
CPU = torch.device("cpu")


def check_steps(scale: Scale) -> Iterator[Row]:
    """Compares loss and gradient with the authors', and the stages' steps with eager steps, without dropout.

    Then checks that recorded steps draw dropout anew.
    """
    images, count = 2 if scale.tiny else 8, 60 if scale.tiny else 200
    index = np.arange(images)
    features, captions = networks.features(count, networks.CLIP_SIZE), gpt2_tokens(count)
    dataset = published.PaddedCaptions(captions, features, 10)
    items = [dataset[5 * image + i] for image in index for i in range(5)]
    batch = [torch.stack(column).to(scale.device) for column in zip(*items, strict=True)]
    model = clipcap(scale, "mlp", 10, False).eval()
    twin, data, found = networks.in_library(model), clipcap_data(scale, model, images, count), []
    losses = (model.loss(*data.take(index)).mean, published.training_loss(twin, batch))
    for network, loss in zip((model, twin), losses, strict=True):
        loss.backward()
        found.append(
            (loss.item(), torch.nn.utils.get_total_norm([p.grad for p in network.parameters()]).item())
        )
    (loss, norm), (theirs, their_norm) = found
    apart = max(abs(loss - theirs) / theirs, abs(norm - their_norm) / their_norm)
    yield Row("loss and gradient's norm against the authors'",
              f"{apart:.0e} apart{'' if apart < 1e-3 else ' !'}",
              "1e-3", figures={"apart": apart, "loss": loss, "norm": norm})  # fmt: skip

    for kind, build, batches in (
        ("ClipCap", lambda: clipcap(scale, "mlp", 10, False), data),
        ("LSTM", *lstm_and_data(scale, images)),
    ):
        changes = []
        for make in (steps_of, eager_steps_of):
            model = build().eval()
            before = [p.detach().clone() for p in model.parameters()]
            step = make(model, batches, scale.dtype)
            for number in range(5):
                if number == 3:  # as after an epoch: it must not move what is recorded
                    with torch.no_grad(), autocast(scale.device, scale.dtype):
                        model.loss(*batches.take(index))
                step(index)
            after = [p.detach() for p in model.parameters()]
            changes.append(torch.cat([(a - b).flatten() for a, b in zip(after, before, strict=True)]))
        cosine = F.cosine_similarity(*(change.double() for change in changes), dim=0).item()
        yield Row(f"five steps as stages take them against eager ones, {kind}",
                  f"cosine of the weights' changes {cosine:.5f}{'' if cosine >= SAME_STEPS else ' !'}",
                  f"{SAME_STEPS}", figures={"cosine": cosine})  # fmt: skip

    step, losses = steps_of(clipcap(scale, "mlp", 10, False), data, scale.dtype, rate=0.0), []
    for seed in (0, 0, 0, 1, 2, 1):  # launched, recorded, replayed; then three that count
        torch.manual_seed(seed)
        losses.append(step(index)[0].item())
    one, two, again = losses[3:]
    right = abs(one - two) > 1e-4 * one and abs(one - again) < 1e-5 * one
    yield Row("dropout in steps as stages take them",
              f"{'another' if right else '! not another'} for each seed, the same for the same",
              figures={"losses": losses[3:]})  # fmt: skip


def check_sampling(scale: Scale) -> Iterator[Row]:
    """Compares captions sampled in recorded steps with those of `sample`, in float32."""
    record = [Recorded] * (scale.device.type == "cuda")
    for decoder, _, features in self_critical_decoders(scale):
        rules = Rules(max_tokens=40, eos_id=decoder.text.eos_id, banned_ids=decoder.text.banned_ids)
        chances = torch.rand(len(features), 5, 40, generator=torch.Generator().manual_seed(0))
        sampler = FixedSampler(decoder.model, rules, 5, scale.device, *record)
        for _ in range(3):  # launched, recorded, replayed
            found = sampler(features, chances).flatten(0, 1).tolist()
        expected = [
            one for image in sample(decoder.model, features, rules, 5, chances=chances) for one in image
        ]
        equal = sum(row[: len(one.tokens)] == one.tokens for row, one in zip(found, expected, strict=True))
        share = equal / len(expected)
        yield Row(f"captions sampled in recorded steps, {decoder.kind}",
                  f"{equal} of {len(expected)} equal{'' if share >= SAME_CAPTIONS else ' !'}",
                  f"{SAME_CAPTIONS:.0%}", figures={"equal": share})  # fmt: skip


def check_features(scale: Scale) -> Iterator[Row]:
    """Compares this device's features with the processor's in float32.

    It also checks whether an image's features depend on its place in the batch.
    """
    with files(scale, 6 if scale.tiny else 64) as sizes:
        for kind, load in (("vgg16", load_vgg16), ("clip", load_clip)):
            with extraction.checkpoint(sizes | {"kind": kind}) as folder:
                device, processor = (
                    load(folder, device=scale.device),
                    load(folder, precision="fp32", device=CPU),
                )
            listed = ImageFiles(sizes["paths"], device.preprocess)
            theirs = np.concatenate([rows for rows, _ in encode(processor, listed, 8, 0)])
            pixels = torch.cat(list(decoded(scale, listed, 64, sizes["workers"])))
            mine = device(pixels).cpu()
            cosine = F.cosine_similarity(mine.flatten(1), torch.from_numpy(theirs).flatten(1)).min().item()
            same = device(
                pixels[:1].repeat(len(pixels), 1, 1, 1).contiguous(memory_format=torch.channels_last)
            )
            places = torch.equal(same, same[:1].expand_as(same))
            plain = torch.cat(list(pixel_batches(listed, 64)))
            levels = (pixels.cpu().int() - plain.int()).abs().float()
            verdict = "" if cosine >= LOADED else " !"
            ours = (f"cosine {cosine:.5f} or more{verdict}; pixels {levels.mean():.2f} of 255 levels apart, "
                    f"{levels.max():.0f} at most; "
                    f"rows {'do not ' if places else ''}depend on their place")  # fmt: skip
            figures = {"cosine": cosine, "levels": levels.mean().item(), "places_are_equal": places}
            yield Row(
                f"features of {kind} against the processor's in float32", ours, f"{LOADED}", figures=figures
            )


def profile(scale: Scale) -> Iterator[Row]:
    """Ten steps of tuned ClipCap: the ten slowest kernels, and the share of time in which no kernel runs."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as watch

    gpu = scale.device.type == "cuda"
    model = clipcap(scale, "mlp", 10, False)
    data = clipcap_data(scale, model, 8, 60)
    step, index = steps_of(model, data, scale.dtype), np.arange(8)
    seconds_of(lambda: step(index), 1)
    with watch(activities=[ProfilerActivity.CUDA if gpu else ProfilerActivity.CPU]) as seen:
        start = time.perf_counter()
        for _ in range(scale.steps):
            step(index)
        synchronize()
        wall = time.perf_counter() - start
    name = "self_device_time_total" if gpu else "self_cpu_time_total"
    events = sorted(seen.key_averages(), key=lambda event: -getattr(event, name))
    busy = sum(getattr(event, name) for event in events) / 1e6
    if not busy:
        raise RuntimeError("the profiler saw no kernel: it may lack the right to watch this GPU")
    for event in events[:10]:
        share = getattr(event, name) / 1e6 / wall
        yield Row(f"  {event.key[:70]}", f"{share:.1%} of the time, {event.count // scale.steps} a step",
                  figures={"share": share, "calls": event.count})  # fmt: skip
    idle = max(0.0, 1 - busy / wall)
    yield Row(
        "the GPU idle in a ClipCap step, watched by the profiler", f"{idle:.0%}", figures={"idle": idle}
    )
