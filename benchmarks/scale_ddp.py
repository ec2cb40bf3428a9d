"""What training by several processes costs: a step of ClipCap in one process, and in two on the same cores.

    python -m benchmarks.scale_ddp [--tiny]

Both run on two cores, with the same global batches. So two processes have no more computing power than one,
and the extra time is the overhead: the sum of the gradients by gloo, smaller matrices, and waiting for the
slower of the two.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks import material, networks
from captioning.core.errors import command
from captioning.core.malloc import keep_freed_memory
from captioning.decoders.vocabulary import train_bpe
from captioning.training import distributed
from captioning.training.batches import CaptionBatches
from captioning.training.processes import in_processes
from captioning.training.step import training_step
from models.clipcap import ClipCap, ClipCapConfig
from models.gpt2 import GPT2, GPT2Config

ROOT = Path(__file__).parents[1]
# Cores; runs of each kind in turn; timed steps in a run; images in a global batch.
CORES, TURNS, STEPS, IMAGES = 2, 3, 6, 32
SIZES = {"n_layer": 6, "n_head": 6, "n_embd": 384}
HEAD = f"| processes on {CORES} cores | weights | a step of {IMAGES} images | the gradients' sum | overhead |"


def rows(tiny: bool = False) -> list[str]:
    """Lines of a table, ready to print."""
    found = {count: [] for count in (1, CORES)}
    for _ in range(1 if tiny else TURNS):
        for count, runs in found.items():
            runs.append(_run(count, tiny))
    step, summed = (
        {n: statistics.median(run[key] for run in runs) for n, runs in found.items()}
        for key in ("step", "sum")
    )
    lines = [HEAD, "| --- | --- | --- | --- | --- |"]
    for count, (run, *_) in found.items():
        overhead = f"{step[count] / step[1] - 1:+.0%}" if count > 1 else ""
        times = " | ".join(f"{1000 * seconds[count]:,.0f} ms" for seconds in (step, summed))
        lines.append(f"| {count} | {run['weights']:,} | {times} | {overhead} |")
    return lines


def _run(count: int, tiny: bool) -> dict[str, float]:
    """Seconds of a step and of its sum, medians of one run in `count` processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    env = os.environ | {"OMP_NUM_THREADS": str(CORES // count), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*launcher, "-m", "benchmarks.scale_ddp", "--in-processes", *["--tiny"] * tiny],
        cwd=ROOT, env=env, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{count} processes failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


@in_processes
def measure() -> None:
    keep_freed_memory()
    tiny = "--tiny" in sys.argv
    captions = material.scenes_captions(300)
    text = train_bpe([caption for of_image in captions for caption in of_image], 600)
    encoded = iter(text.encode([caption for of_image in captions for caption in of_image], 40))
    encoded = [[next(encoded) for _ in of_image] for of_image in captions]
    features = networks.features(len(captions), networks.CLIP_SIZE).half().numpy()
    batches = CaptionBatches(features, encoded, IMAGES, 0, torch.device("cpu"))
    torch.manual_seed(0)
    gpt = GPT2(GPT2Config(vocab_size=text.size, **(networks.TINY_GPT2 if tiny else SIZES)))
    model = ClipCap(ClipCapConfig(networks.CLIP_SIZE, prefix_len=10), gpt).train()
    weights = list(model.parameters())

    def loss(features: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        found = model.loss(features, tokens)
        return distributed.part(found.mean, found.tokens)

    step = training_step(model, loss, torch.optim.AdamW(weights, fused=True), torch.float32, 1.0)
    taken, epoch = [], batches.epoch(0)
    for _ in range(1 + STEPS):
        batch, start = next(epoch), time.perf_counter()
        step(*batch)
        taken.append(time.perf_counter() - start)
    sums = []
    for _ in range(STEPS):
        for weight in weights:
            weight.grad = torch.zeros_like(weight)
        start = time.perf_counter()
        distributed.sum_gradients(weights)
        sums.append(time.perf_counter() - start)
    size = sum(weight.numel() for weight in weights)
    print(json.dumps({"step": statistics.median(taken[1:]), "sum": statistics.median(sums), "weights": size}))


@command
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale_ddp", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "--tiny", action="store_true", help="a network of a few weights, to see that everything runs"
    )
    parser.add_argument("--in-processes", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.in_processes:
        measure()
    else:
        print("\n".join(rows(given.tiny)))


if __name__ == "__main__":
    main()
