"""Speed of each path on a GPU, beside the authors' loops on the same card. Takes a few minutes.

    python -m benchmarks.gpu [--json FILE] [--only NAME ...] [--minutes 8] [--images 8192] [--workers 16]
    python -m benchmarks.gpu --tiny               a quick trial on any machine

Uses full-size networks with random weights, bf16, and needs no network. The variables FLICKR8K, PHOTOGRAPHS
and GPT2_TOKENIZER may name folders with the real material (`benchmarks.material`). It checks the numbers,
then measures the rows, the profile, and projected times for Flickr8k and COCO (`benchmarks.gpu_steps`,
`benchmarks.gpu_inference`, `benchmarks.gpu_checks`). A row that fails, or whose steps cannot be recorded as
CUDA graphs, is reported, and the next one runs; if the GPU no longer answers, in a new process. When the time
is over, it writes the results so far. A training step's share of the device's peak (MFU) counts its matrix
products with weights. Attention, under 2% of them, is not counted. `benchmarks.flickr8k_full_size` runs all
stages themselves.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks import gpu_checks, gpu_inference, gpu_steps, material
from benchmarks.gpu_rows import Scale, seconds_of
from captioning.core.device import describe, pick_device, pick_dtype
from captioning.core.errors import UserError, command
from captioning.core.files import read_json, write_json
from captioning.core.malloc import keep_freed_memory
from captioning.training.graphs import FAILED

PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12}  # FLOP/s, dense bf16, from NVIDIA's data sheets
# Images: all, training, test; epochs of the presets' finetune_clip, train_lstm, train_clipcap.
DATA_SETS = {
    "Flickr8k": ((8_000, 6_000, 1_000), (5, 14, 10)),
    "COCO": ((123_287, 113_287, 5_000), (0, 10, 10)),
}

ROWS = {  # the most important rows first
    "check-steps": gpu_checks.check_steps,
    "check-sampling": gpu_checks.check_sampling,
    "check-features": gpu_checks.check_features,
    "step-tuned": gpu_steps.step_tuned,
    "step-frozen": gpu_steps.step_frozen,
    "step-lstm": gpu_steps.step_lstm,
    "captions": gpu_inference.captions,
    "extract-vgg16": gpu_inference.extract_vgg16,
    "extract-clip": gpu_inference.extract_clip,
    "step-clip": gpu_steps.step_clip,
    "step-self-critical": gpu_steps.step_self_critical,
    "step-by-images": gpu_steps.step_by_images,
    "profile": gpu_checks.profile,
}


class OutOfTime(BaseException):
    """Raised when the time is over. It is not an `Exception`, so no row catches it as its own failure."""


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="where all figures go, after every row")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME",
                        help=f"some of {', '.join(ROWS)}")  # fmt: skip
    parser.add_argument(
        "--minutes", type=float, default=8, help="after which it ends, whatever is left (default 8)"
    )
    parser.add_argument(
        "--images", type=int, default=8192, help="files to extract features from (default 8192)"
    )
    parser.add_argument("--workers", type=int, default=16, help="threads that read them (default 16)")
    parser.add_argument("--tiny", action="store_true", help="small networks")
    parser.add_argument("--go-on", action="store_true", help="keep the rows that the JSON file holds")
    asked, start = parser.parse_args(), time.monotonic()
    if asked.go_on and not asked.json:
        parser.error("--go-on needs --json")
    device = pick_device()
    if device.type == "cpu" and not asked.tiny:
        raise UserError("no GPU here: `make bench` measures processors, and --tiny shows that this runs")
    keep_freed_memory()
    dtype = pick_dtype("auto", device)
    name = describe(device, dtype)
    peak = next((rate for card, rate in PEAKS.items() if card in name), None)
    scale = Scale(asked.tiny, device, dtype, peak, asked.images, asked.workers)
    found: dict[str, Any] = {
        "device": name, "torch": torch.__version__, "tiny": asked.tiny, "material": material.described(),
        "rows": {}, "failed": {},
    }  # fmt: skip
    if asked.go_on:
        found |= read_json(asked.json)
    elif not asked.tiny:
        found["plain_product"] = product_rate(device)
        print(f"{name}: a plain bf16 product reaches {found['plain_product'] / 1e12:.3g} TFLOP/s", flush=True)
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.setitimer(signal.ITIMER_REAL, max(1, 60 * asked.minutes - 5))  # leaves 5 s to finish
    try:
        for place, row in enumerate(asked.only, 1):
            run(row, scale, found)
            if asked.json:
                write_json(asked.json, found)
            if not answers(device):
                go_on(asked, asked.only[place:], asked.minutes - (time.monotonic() - start) / 60)
                break
    except OutOfTime:
        found["out_of_time"] = row
        print(f"{asked.minutes:g} minutes are over, in {row}", file=sys.stderr)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    found["projected"] = projected(found["rows"])
    if asked.json:
        write_json(asked.json, found)
    print(markdown(found))
    if found["failed"] or "out_of_time" in found:
        raise UserError(
            f"not measured: {', '.join([*found['failed'], found.get('out_of_time', '')]).rstrip(', ')}"
        )


def _out_of_time(number: int, frame: Any) -> None:
    raise OutOfTime


def answers(device: torch.device) -> bool:
    """Frees memory. False if the GPU does not answer: after some faults, a process can use it no more."""
    gc.collect()
    try:
        if device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
    except RuntimeError:
        return False
    return True


def go_on(asked: argparse.Namespace, rows: list[str], minutes: float) -> None:
    """Replaces this process by a new one for the other rows. Returns if there are none, or no JSON file."""
    if rows and asked.json:
        print("the GPU does not answer: the other rows run in a new process", file=sys.stderr, flush=True)
        signal.setitimer(signal.ITIMER_REAL, 0)
        options = ["--go-on", "--json", asked.json, "--minutes", minutes, "--images", asked.images]
        options += ["--workers", asked.workers, *["--tiny"] * asked.tiny, "--only", *rows]
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.gpu", *map(str, options)])


def run(name: str, scale: Scale, found: dict[str, Any]) -> None:
    """Runs a row and records its lines. Failures are printed and recorded, too."""
    start, lines, failed = time.monotonic(), found["rows"].setdefault(name, []), len(FAILED)
    try:
        for line in ROWS[name](scale):
            cells = asdict(line)
            json.dumps(cells, allow_nan=False)
            lines.append(cells)
            print(f"{name}: {line.path}: {line.ours}", file=sys.stderr, flush=True)
    except Exception as error:
        found["failed"][name] = traceback.format_exc()
        print(f"{name}: failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    for _, cause in FAILED[failed:]:
        found["failed"][name] = f"{found['failed'].get(name, '')}not recorded as a CUDA graph: {cause}\n"
    print(f"  {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


def product_rate(device: torch.device) -> float:
    """FLOP/s of a square bf16 matrix product."""
    size = 8192
    a = torch.randn(size, size, device=device).bfloat16()
    return 2 * size**3 / seconds_of(lambda: a @ a, 10)


def projected(rows: dict[str, list[dict]]) -> dict[str, dict[str, float]]:
    """Seconds for each part of a run, without start-up, dev scores and evaluation; {} if a row is absent."""

    def figure(name: str, key: str) -> float:
        return next(line["figures"][key] for line in rows[name] if key in (line["figures"] or {}))

    try:
        clip = figure("step-clip", "seconds") / figure("step-clip", "pairs")
        lstm = figure("step-lstm", "stage") / figure("step-lstm", "images")
        clipcap = figure("step-tuned", "stage") / figure("step-tuned", "images")
        image = 1 / figure("extract-vgg16", "ours") + 1 / figure("extract-clip", "ours")
        caption = figure("captions", "seconds")
    except (KeyError, StopIteration):
        return {}
    return {
        name: {
            "finetune_clip": clip_epochs * train * clip,
            "features": images * image,
            "train_lstm": lstm_epochs * train * lstm,
            "train_clipcap": clipcap_epochs * train * clipcap,
            "captions": test * caption,
        }
        for name, ((images, train, test), (clip_epochs, lstm_epochs, clipcap_epochs)) in DATA_SETS.items()
    }


def markdown(found: dict[str, Any]) -> str:
    """The README's table, from the JSON file's contents."""
    table = ["| path | the authors' loop | ours | goal |", "| --- | --- | --- | --- |"]
    for lines in found["rows"].values():
        table += [
            f"| {line['path']} | {line['published']} | {line['ours']} | {line['goal']} |" for line in lines
        ]
    for name, parts in found.get("projected", {}).items():
        listed = ", ".join(f"{part} {seconds:,.0f} s" for part, seconds in parts.items())
        table.append(f"| {name} by these rates | | {sum(parts.values()) / 60:,.1f} minutes ({listed}) | |")
    where = f"On {found['device']}, torch {found['torch']}; " + ", ".join(
        f"{what}: {kind}" for what, kind in found["material"].items()
    )
    return "\n".join([*table, "", f"{where}."])


if __name__ == "__main__":
    main()
