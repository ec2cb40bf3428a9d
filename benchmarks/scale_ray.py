"""What Ray costs: extraction by its actors and by one process, on the same cores and the same images."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.turns import working_in
from captioning.core.device import pick_device
from captioning.features.cluster import extract_on_cluster
from captioning.features.encoders import load_vgg16, save_vgg16
from captioning.features.extract import extract
from captioning.features.images import vgg16_preprocess
from models import vgg16

SIDE, WIDTH, BATCH = 64, 0.25, 64  # the default run's VGG16


def rows(tiny: bool = False) -> list[str]:
    """A table's lines: what is measured and how long it takes, in ms per image and in seconds."""
    if find_spec("ray") is None:
        return ["Ray is not installed: uv pip install -r requirements-ray.txt"]
    images = 64 if tiny else 4000
    os.environ.setdefault("RAY_worker_niceness", "0")  # one process is not niced either
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        paths, sha256s = zip(*(_picture(Path(f"{i}.jpg"), i) for i in range(images)), strict=True)
        torch.manual_seed(0)
        save_vgg16("vgg16", vgg16.VGG16(vgg16.VGG16Config(SIDE, WIDTH, True, 3)), vgg16_preprocess(SIDE))
        load = partial(load_vgg16, "vgg16")
        lists = list(paths), list(paths), list(sha256s)
        cores = os.cpu_count() or 1
        alone = _seconds("alone", lambda path: extract(path, load(), *lists, BATCH, cores))
        on_ray = lambda path: extract_on_cluster(path, load, *lists, BATCH, 0, "local")  # noqa: E731
        first = _seconds("ray", on_ray)
        start = _seconds("ray", on_ray)  # all rows are reused
        same = Path("alone.h5").read_bytes() == Path("ray.h5").read_bytes()
    ours, rays = (1000 * seconds / images for seconds in (alone, first - start))
    return [
        "| extraction | |",
        "| --- | --- |",
        f"| {images:,} images, one process on {pick_device()} | {ours:.2f} ms an image |",
        (
            f"| the same by Ray's actors | {rays:.2f} ms an image ({rays - ours:+.2f}) "
            f"and {start:.1f} s to start |"
        ),
        f"| the same bytes | {'yes' if same else 'NO'} |",
    ]


def _seconds(name: str, work) -> float:
    start = time.perf_counter()
    with working_in(f"work-{name}"), contextlib.redirect_stdout(io.StringIO()):
        work(Path(f"{name}.h5"))
    return time.perf_counter() - start


def _picture(path: Path, seed: int) -> tuple[str, str]:
    """Writes a smooth JPEG of 224 pixels per side. Returns its path and hash."""
    colours = np.random.default_rng(seed).integers(256, size=(7, 7, 3), dtype=np.uint8)
    Image.fromarray(colours).resize((224, 224), Image.Resampling.BICUBIC).save(path, quality=90)
    return str(path), hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    print("\n".join(rows()))
