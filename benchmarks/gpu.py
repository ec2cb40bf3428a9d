"""What a GPU makes of each hot path: rates beside the device's own, and what they come to for Flickr8k and COCO.

    python -m benchmarks.gpu [--images 4096] [--workers 16] [--rounds 3]
    python -m benchmarks.gpu --tiny               to see that it runs, on any machine

Full-size networks with random weights, bf16. The training step by batch size: caption tokens a second, and the share of
the device's peak (MFU) that its matrix products with weights make up; attention, under 2% of them, is not counted.
Extraction from files to store beside the bare network, beam search, and a projection of whole runs from these rates,
fine-tuning of the encoders left out. `benchmarks.flickr8k_full_size` runs all stages for real.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import extraction, material, networks
from benchmarks.networks import NEVER
from benchmarks.table import ms
from benchmarks.training_step import step_of
from benchmarks.turns import in_turn, synchronize
from captioning.core.device import describe, pick_device, pick_dtype
from captioning.core.errors import UserError, command
from captioning.core.malloc import keep_freed_memory
from captioning.search.base import Rules
from captioning.search.beam import beam_search
from captioning.training.batches import CaptionBatches
from models.clipcap import ClipCap
from models.packing import Trees

PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12}  # FLOP/s of dense bf16 products, by NVIDIA's data sheets
DATA_SETS = {"Flickr8k": (8_000, 6_000, 1_000), "COCO": (123_287, 113_287, 5_000)}  # images: all, training, test
EPOCHS = 10


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=4096, help="files to extract features from (default 4096)")
    parser.add_argument("--workers", type=int, default=16, help="threads that decode them (default 16)")
    parser.add_argument("--rounds", type=int, default=3, help="times that an extraction runs (default 3)")
    parser.add_argument("--tiny", action="store_true", help="small networks")
    asked = parser.parse_args()
    device = pick_device()
    if device.type == "cpu" and not asked.tiny:
        raise UserError("no GPU here: `make bench` measures processors, and --tiny shows that this runs")
    keep_freed_memory()
    dtype = pick_dtype("auto", device)
    plain = product_rate(device, 256 if asked.tiny else 8192)
    peak = next((rate for name, rate in PEAKS.items() if name in describe(device, dtype)), None)
    print(f"{describe(device, dtype)}: a plain bf16 product reaches {plain / 1e12:.3g} TFLOP/s, "
          f"the data sheet says {peak / 1e12 if peak else float('nan'):.3g}\n")  # fmt: skip

    training = []
    for mapping, prefix, freeze in (("mlp", 10, False), ("transformer", 40, True)):
        rows = training_rates(mapping, prefix, freeze, asked.tiny, device, dtype)
        print(f"ClipCap training step, GPT-2 {'frozen' if freeze else 'tuned'}, {mapping} mapping, prefix {prefix}\n")
        print("| images | seconds | caption tokens/s | share of peak (MFU) | of a plain product | GPU memory, GB |")
        print("| --- | --- | --- | --- | --- | --- |")
        for row in rows:
            share = f"{row['flops'] / peak:.0%}" if peak else "peak not known"
            print(f"| {row['images']} | {ms(row['seconds'])} | {row['tokens']:,.0f} | {share} | "
                  f"{row['flops'] / plain:.0%} | {row['memory'] / 1e9:.1f} |")  # fmt: skip
        print(flush=True)
        training.append(rows[0]["images"] / rows[0]["seconds"])  # in the presets' batches, the smallest here

    extracting = {}
    for kind in ("vgg16", "clip"):
        ours, network = extraction_rates(kind, asked)
        extracting[kind] = ours
        print(
            f"extraction, {kind}: {ours:,.0f} images/s, {ours / network:.0%} of the network's {network:,.0f}",
            flush=True,
        )
    captions = caption_rate(asked.tiny, device)
    print(f"beam search, GPT-2, width 5, 20 tokens: {captions:,.0f} captions/s\n")
    for name, (images, train, test) in DATA_SETS.items():
        parts = {
            "features": sum(images / rate for rate in extracting.values()),
            f"{EPOCHS} epochs of ClipCap": EPOCHS * train / training[0],
            "captions": test / captions,
        }
        listed = ", ".join(f"{part} {seconds:,.0f} s" for part, seconds in parts.items())
        print(f"{name} at these rates: {sum(parts.values()) / 60:,.1f} minutes ({listed})")


def product_rate(device: torch.device, size: int) -> float:
    """FLOP/s of a square bf16 matrix product."""
    a = torch.randn(size, size, device=device).bfloat16()
    return 2 * size**3 / seconds_of(lambda: a @ a, 10)


def seconds_of(work, times: int) -> float:
    for _ in range(3):
        work()
    synchronize()
    start = time.perf_counter()
    for _ in range(times):
        work()
    synchronize()
    return (time.perf_counter() - start) / times


def training_rates(
    mapping: str, prefix: int, freeze: bool, tiny: bool, device: torch.device, dtype: torch.dtype
) -> list[dict[str, Any]]:
    """By images in a batch: seconds of a step, caption tokens and FLOP a second, peak memory in bytes."""
    count, found = 60 if tiny else 2000, []
    captions, features = material.tokens(material.gpt2_text(), count), networks.features(count, networks.CLIP_SIZE)
    model = networks.clipcap(mapping, prefix, freeze, networks.GPT2_VOCABULARY, tiny).to(device).train()
    for images in (2, 4) if tiny else (8, 16, 32, 64, 128, 256):
        step = step_of(model, dtype)
        batch = CaptionBatches(features.numpy(), captions, images, 0, device).take(torch.arange(images).numpy())
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        seconds = seconds_of(lambda step=step, batch=batch: step(*batch), 1 if tiny else 10)
        found.append(
            {
                "images": images,
                "seconds": seconds,
                "tokens": int((batch[1] >= 0).sum()) / seconds,
                "flops": flops_of(model, batch[1]) / seconds,
                "memory": torch.cuda.max_memory_allocated() if device.type == "cuda" else 0,
            }
        )
    return found


def flops_of(model: ClipCap, captions: torch.Tensor) -> float:
    """Of a step's matrix products with weights: 2 a weight and row forward, 2 for inputs' gradients, 2 for weights'."""
    trees, gpt, prefix = Trees(captions.cpu().numpy(), 0), model.gpt, model.config.prefix_len
    images, nodes = len(captions), int(trees.node_counts.sum())
    each = 4 if model.config.freeze_gpt2 else 6

    def matrices(network: torch.nn.Module) -> int:
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


def extraction_rates(kind: str, asked: argparse.Namespace) -> tuple[float, float]:
    """Images a second from files to the store, and of the bare network."""
    images = 6 if asked.tiny else asked.images
    with tempfile.TemporaryDirectory() as folder:
        sources = [Path(path).read_bytes() for path in material.photographs(images, Path(folder))]
        paths = [Path(folder) / f"copy{i}.jpg" for i in range(images)]
        for i, path in enumerate(paths):  # equal images are computed once; bytes after a JPEG's end change its hash
            path.write_bytes(sources[i % len(sources)] + i.to_bytes(4, "big"))
        sizes = {"tiny": asked.tiny, "kind": kind, "images": images, "paths": list(map(str, paths)), "batch": 256}
        sizes["workers"] = 1 if asked.tiny else asked.workers
        found = in_turn(
            {"ours": extraction.ours, "network": extraction.network}, sizes, 1 if asked.tiny else asked.rounds
        )
    return images / found["ours"].median, images / found["network"].median


def caption_rate(tiny: bool, device: torch.device) -> float:
    """Captions a second of beam search, in float32 as stage generate has it, in batches of 256 images."""
    images = 4 if tiny else 256
    model = networks.clipcap("mlp", 10, False, networks.GPT2_VOCABULARY, tiny).eval().to(device)
    features = networks.features(images, networks.CLIP_SIZE).to(device)

    def search() -> None:
        beam_search(model, features, Rules(beam_size=5, max_tokens=4 if tiny else 20, eos_id=NEVER))

    return images / seconds_of(search, 1 if tiny else 3)


if __name__ == "__main__":
    main()
