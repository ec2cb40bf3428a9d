"""The whole pipeline at full size on random weights: every stage's time and peak memory.

Writes files in the official formats (torchvision's VGG16, an archive like OpenAI's ViT-B/32, GPT-2 as on the
Hugging Face hub) with random numbers, then runs the stages of a preset one by one, as DVC would. Speed and
memory do not depend on the weights' values. Scores do: those of such a run mean nothing.

    python -m benchmarks.flickr8k_full_size --data flickr8k --tokenizer gpt2-tokenizer  for one GPU
    python -m benchmarks.flickr8k_full_size --images 64 --epochs 1                      to try it on 2 cores

`--data` is a folder with Flickr8k in either of its layouts; without it, scenes of 224 pixels take its place.
`--tokenizer` is a folder with GPT-2's vocab.json and merges.txt; without it, a small one is trained on
English words, and captions have a few more tokens.

Measured: 64 photographs, one epoch, no fine-tuning, on 2 busy cores: 203 s, 4.3 GB at most (train_clipcap, 34
s). Nothing has been measured on a GPU yet.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch

from captioning.core.errors import UserError, command
from captioning.core.settings import read_yaml
from commands import preset as presets

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("prepare", "finetune_vgg16", "finetune_clip", "extract_vgg16", "extract_clip", "train_lstm",
          "train_clipcap", "generate lstm", "generate clipcap", "filter_paraphrases", "evaluate")  # fmt: skip
# Runs a stage as `python -m` does, and writes its peak GPU memory to a file.
RUN = """
import runpy, sys
target, module = sys.argv[1:3]
sys.argv = sys.argv[2:]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
finally:
    torch = sys.modules.get("torch")
    used = torch.cuda.max_memory_reserved() if torch and torch.cuda.is_initialized() else 0
    open(target, "w").write(str(used))
"""


@command
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", default="flickr8k", choices=["flickr8k", "flickr8k-frozen"])
    parser.add_argument("--data", type=Path, help="folder of Flickr8k")
    parser.add_argument("--tokenizer", type=Path, help="folder with GPT-2's vocab.json and merges.txt")
    parser.add_argument("--images", type=int, default=8000, help="scenes, where there is no --data")
    parser.add_argument("--epochs", type=int, help="of every training, instead of the preset's")
    parser.add_argument(
        "--work", type=Path, default=Path("full-size"), help="folder to work in; emptied first"
    )
    asked = parser.parse_args()
    if asked.work.exists() and not (asked.work / "params.yaml").exists() and any(asked.work.iterdir()):
        raise UserError(f"{asked.work} holds something else: give another --work")
    shutil.rmtree(asked.work, ignore_errors=True)
    data = {"source": "flickr8k", "root": str(asked.data.resolve())} if asked.data else {
        "source": "scenes", "scenes": {"images": asked.images, "size": 224}}  # fmt: skip
    changes = {"data": data}
    if asked.epochs is not None:
        for name in ("train_lstm", "train_clipcap", "finetune_clip"):
            changes[name] = {"epochs": asked.epochs}
    prepare(asked.work, asked.preset, changes, asked.tokenizer)
    measured = [run(asked.work, stage) for stage in STAGES]
    print(table(measured))


def prepare(work: Path, preset: str, changes: dict[str, dict], tokenizer: Path | None) -> None:
    """A project folder with a preset's params.yaml and random weights of the same format."""
    work.mkdir(parents=True, exist_ok=True)
    weights = work.resolve() / "weights"
    weights.mkdir(exist_ok=True)
    write_vgg16(weights / "vgg16.pth")
    write_clip(weights / "ViT-B-32.pt")
    write_gpt2(weights / "gpt2", tokenizer)
    params = work / "params.yaml"
    shutil.copy(ROOT / "params.yaml", params)
    presets.apply(preset, params, ROOT / "presets")
    values = read_yaml(params)
    ours = {
        "vgg16": {"weights": str(weights / "vgg16.pth")},
        "clip": {"weights": str(weights / "ViT-B-32.pt")},
        "model": {"gpt2": str(weights / "gpt2")},
    }
    for group in (ours, changes):
        for name, settings in group.items():
            values[name] |= settings
    params.write_text(json.dumps(values, indent=2), encoding="utf-8")  # JSON is valid YAML


def write_vgg16(path: Path) -> None:
    """Writes a file like torchvision's `vgg16-397923af.pth`: a state dict in torch's old format."""
    from torchvision.models import vgg16

    torch.manual_seed(0)
    torch.save(vgg16().state_dict(), path, _use_new_zipfile_serialization=False)


def write_clip(path: Path) -> None:
    """Writes a file like OpenAI's `ViT-B-32.pt`: a traced module in half precision."""
    from models import clip

    torch.manual_seed(0)
    model = clip.build(clip.CLIPConfig(512, 224, 12, 768, 32, 77, 49408, 512, 12)).eval()
    example = (torch.zeros(1, 3, 224, 224), torch.ones(1, 77, dtype=torch.int64))
    torch.jit.trace(model, example, check_trace=False).half().save(str(path))


def write_gpt2(folder: Path, tokenizer: Path | None) -> None:
    """Writes a folder like the hub's `gpt2`: config.json, model.safetensors, vocab.json, merges.txt."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from captioning.decoders.vocabulary import train_bpe

    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config()).save_pretrained(folder)
    if tokenizer:
        for name in ("vocab.json", "merges.txt"):
            shutil.copy(tokenizer / name, folder / name)
        return
    words = Path(ROOT / "README.md").read_text(encoding="utf-8").split("\n")
    bpe = train_bpe(words, 1000)
    bpe.tokenizer.model.save(str(folder))
    config = json.loads((folder / "config.json").read_text())
    sizes = {"vocab_size": bpe.size, "bos_token_id": bpe.eos_id, "eos_token_id": bpe.eos_id}
    GPT2LMHeadModel(GPT2Config(**{**config, **sizes})).save_pretrained(folder)


def run(work: Path, stage: str) -> dict:
    """Runs a stage in its own process. Returns its seconds, and its peak main and GPU memory in bytes."""
    name, *arguments = stage.split()
    target = work.resolve() / "gpu-memory"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(target), f"stages.{name}", *arguments], cwd=work, env=environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f"stage {stage} failed with exit code {process.returncode}")
    return {
        "stage": stage, "seconds": time.monotonic() - start, "memory": usage.ru_maxrss * 1024,
        "gpu": int(target.read_text()),
    }  # fmt: skip


def table(measured: list[dict]) -> str:
    lines = ["| stage | seconds | main memory, GB | GPU memory, GB |", "| --- | --- | --- | --- |"]
    for one in measured:
        lines.append(
            f"| {one['stage']} | {one['seconds']:.0f} | {one['memory'] / 1e9:.1f} | {one['gpu'] / 1e9:.1f} |"
        )
    total = sum(one["seconds"] for one in measured)
    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{os.cpu_count()} processor cores, no GPU"
    )
    return "\n".join([*lines, f"| all, on {device} | {total:.0f} | | |"])


if __name__ == "__main__":
    main()
