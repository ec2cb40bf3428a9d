"""Times our paths and the published loops in turn, and prints benchmarks/README.md's table: `make bench`, or

    python -m benchmarks [--rounds 3] [--only NAME ...] [--tiny] [--out FILE.json]

Without --out the figures go into `results/benchmarks.json` and into `benchmarks/results.json`, which is in
git. Rows that are not run are kept.

Full-size networks with random weights; captions, photographs and GPT-2's tokenizer as `benchmarks.material`
finds them: in the folders that the variables FLICKR8K, PHOTOGRAPHS and GPT2_TOKENIZER name, else beside the
project, else scenes. Each side of a comparison has a process of its own, and they take turns
(`benchmarks.turns`); times are medians. A run takes 12 minutes on 2 idle cores with bf16 units and 27
without, and up to 10 GB of memory. Nothing else should be running.
"""

import argparse
import importlib
import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from captioning.core.errors import UserError, command
from captioning.core.files import write_json

RESULTS, RECORD = Path("results/benchmarks.json"), Path(__file__).parent / "results.json"
BENCHMARKS = {  # name -> module and function (rounds, tiny) -> lines of the table
    "step-tuned": ("training_step", "tuned"),
    "step-frozen": ("training_step", "frozen"),
    "attention": ("kernels", "attention"),
    "stem": ("kernels", "stem"),
    "beam-gpt2": ("searches", "gpt2"),
    "beam-lstm": ("searches", "lstm"),
    "extract-vgg16": ("extraction", "vgg16"),
    "extract-clip": ("extraction", "clip"),
    "decoding": ("extraction", "decoding"),
    "scoring": ("scoring", "scoring"),
    "input": ("decoder_input", "decoder_input"),
    "coco": ("coco_setup", "coco_setup"),
}


@command
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Our paths against the published loops."
    )
    parser.add_argument("--rounds", type=int, default=3, help="times that each side runs (default 3)")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), metavar="NAME",
                        help=f"some of {', '.join(BENCHMARKS)}")  # fmt: skip
    parser.add_argument(
        "--tiny", action="store_true", help="small networks, to see that everything runs; not written"
    )
    parser.add_argument("--out", type=Path, help="where the figures go instead")
    given = parser.parse_args()
    if given.rounds < 1:
        raise UserError(f"--rounds {given.rounds}: expected 1 or more")

    from benchmarks import material
    from benchmarks.table import markdown

    lines, entries = [], {}
    for name in given.only:
        module, function = BENCHMARKS[name]
        start, where = time.monotonic(), machine()
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            found = getattr(importlib.import_module(f"benchmarks.{module}"), function)(
                given.rounds, given.tiny
            )
        except UserError as error:
            print(f"{name}: left out: {error}", file=sys.stderr, flush=True)
            continue
        lines += found
        entries[name] = {"rounds": given.rounds, "machine": where, "material": material.described(),
                         "lines": [line.to_dict() for line in found]}  # fmt: skip
        for line in found:
            print(
                f"  {line.path}: published {line.published}, ours {line.ours}; {line.check}", file=sys.stderr
            )
        print(f"  {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    print(markdown(lines))
    if not given.tiny:
        known = (json.loads(RECORD.read_text()) if RECORD.is_file() else {}) | entries
        for path in [given.out] if given.out else [RESULTS, RECORD]:
            write_json(path, {name: known[name] for name in BENCHMARKS if name in known})
            print(f"wrote {path}", file=sys.stderr)


def machine() -> dict[str, object]:
    """The machine, the time, and how busy the machine was before."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {
        "device": device, "processor": _processor(), "cores": os.cpu_count(),
        "threads": torch.get_num_threads(), "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(), "date": f"{datetime.now(UTC):%F}",
        "libraries": {name: version(name) for name in ("torch", "transformers", "pillow", "pycocoevalcap")},
    }  # fmt: skip


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
