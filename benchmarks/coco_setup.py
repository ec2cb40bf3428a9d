"""From files to the first batch at COCO's size (Karpathy's training images): time, memory beside the model.

Captions are real and repeated, CLIP features random. It times reading the tables and the feature store,
tokenizing all captions, padding them into one tensor, and drawing an epoch's order. Stage train_clipcap does
the same before its first step, but packs captions as trees (`models.packed_trees`) instead of padding them.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import material, networks
from benchmarks.table import Line, ms
from benchmarks.turns import Run, in_turn
from captioning.core.device import pick_device
from captioning.core.malloc import keep_freed_memory
from captioning.data.dataset import load_data
from captioning.features.store import FeatureStore, write_store
from captioning.training.batches import CaptionBatches

IMAGES = 113_287


def coco_setup(rounds: int, tiny: bool) -> list[Line]:
    images = 200 if tiny else IMAGES
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), images)
        found = in_turn({"ours": ours}, {"folder": folder}, rounds)["ours"]
    memory = max(found.peak - found.before, 0)
    parts = ", ".join(f"{name} {ms(found.results[-1]['parts'][name])}" for name in found.results[-1]["parts"])
    line = Line(
        path=f"Set-up for an epoch of {images:,} images, {5 * images:,} captions",
        published="nothing to compare",
        ours=f"{ms(found.median)}, {memory / 2**30:.2f} GB",
        factor=None,
        goal="10 s, 3 GB",
        check=parts,
        figures={"ours": found, "bytes_beside_model": memory, "parts": found.results[-1]["parts"]},
    )
    return [line]


def ours(sizes: dict[str, Any]) -> Run:
    folder = Path(sizes["folder"])
    keep_freed_memory()  # as every stage
    text = material.gpt2_text()  # the language model and its tokenizer are the model's part

    def run(turn: int) -> dict[str, Any]:
        clock, parts = time.perf_counter(), {}

        def lap(name: str) -> None:
            nonlocal clock
            now = time.perf_counter()
            parts[name], clock = round(now - clock, 3), now

        data, store = load_data(folder), FeatureStore.open(folder / "clip.h5")
        captions = list(data.references("train").values())
        lap("tables")
        features = store.load(data.split("train"))
        lap("features")
        flat = iter(text.encode([caption for of_image in captions for caption in of_image], 60))
        encoded = [[next(flat) for _ in of_image] for of_image in captions]
        lap("tokens")
        batches = CaptionBatches(features, encoded, 8, 0, pick_device())
        lap("tensors")
        next(batches.epoch(turn))
        lap("first batch")
        return {"parts": parts}

    return run


def _write(folder: Path, count: int) -> None:
    """A prepared data set and a feature store of `count` training images."""
    ids = [f"{i:06d}" for i in range(count)]
    sha256s = [f"{i:064x}" for i in range(count)]
    images = pd.DataFrame({"id": ids, "path": [f"{i}.jpg" for i in ids], "split": "train", "sha256": sha256s})
    images.to_csv(folder / "images.csv", index=False)
    texts = [" ".join(text.split()) for texts in material.captions(count) for text in texts]
    captions = pd.DataFrame({"image_id": np.repeat(ids, 5), "caption": texts, "tokens": texts})
    captions.to_csv(folder / "captions.csv", index=False)
    rng = np.random.default_rng(0)

    def rows(block: range) -> np.ndarray:
        return rng.standard_normal((len(block), networks.CLIP_SIZE), np.float32).astype(np.float16)

    write_store(folder / "clip.h5", ids, sha256s, {"encoder": "random"}, (networks.CLIP_SIZE,), rows)
