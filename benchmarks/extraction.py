"""Feature extraction from photographs: our stage, the network alone, and the published loop over captions.

Ours is `captioning.features.extract.extract` as the stages call it, from files to the finished store. The
published loop encodes an image once for each of its five captions. It runs on a few images, so compare
captions per second. `decoding` is the part before the network. Both sides decode each image once.
"""

import contextlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks import material, published
from benchmarks.table import Line, factor, ms
from benchmarks.turns import Run, in_turn, working_in
from captioning.core.device import pick_device
from captioning.core.files import sha256_of
from captioning.core.malloc import keep_freed_memory
from captioning.features.encoders import (
    Encoder,
    load_clip,
    load_vgg16,
    open_clip,
    open_vgg16,
    save_clip,
    save_vgg16,
)
from captioning.features.extract import extract
from captioning.features.images import Preprocess, clip_preprocess, vgg16_preprocess
from captioning.features.pixels import ImageFiles, pixel_batches
from captioning.features.store import FeatureStore
from models import clip as clip_model
from models import vgg16 as vgg16_model

CAPTIONS = 5  # captions per image
BATCH, WORKERS = 32, 2


def vgg16(rounds: int, tiny: bool) -> list[Line]:
    sizes = {"tiny": tiny, "kind": "vgg16", "images": 6 if tiny else 300, "some": 1 if tiny else 4}
    return _measure("Extraction, VGG16 fc7", sizes, rounds, goal="10 times, 90% of the network's rate")


def clip(rounds: int, tiny: bool) -> list[Line]:
    sizes = {"tiny": tiny, "kind": "clip", "images": 6 if tiny else 300, "some": 1 if tiny else 6}
    return _measure("Extraction, CLIP ViT-B/32", sizes, rounds, goal="20 times, 90% of the network's rate")


def decoding(rounds: int, tiny: bool) -> list[Line]:
    with tempfile.TemporaryDirectory() as folder:
        paths = material.photographs(6 if tiny else 300, Path(folder))
        sides = {"published": unpacks, "ours": unpack, "one": decode_by_one, "two": decode_by_two}
        found = in_turn(sides, {"paths": paths}, rounds)
    theirs, mine = found["published"], found["ours"]
    apart = np.abs(theirs.results[0]["pixels"] - mine.results[0]["pixels"])  # (20, 3, S, S)
    for side in found.values():
        side.results.clear()
    one, two = found.pop("one"), found.pop("two")
    line = Line(
        path=f"{len(paths)} JPEGs to CLIP's pixels, each once, one thread",
        published=f"{ms(theirs.median / len(paths))} an image",
        ours=f"{ms(mine.median / len(paths))} an image",
        factor=factor(theirs, mine),
        goal="",
        check=f"{(apart > 0.01).mean():.2%} of the values are not equal, by {apart.max():.3f} at most",
        figures={**found, "images": len(paths)},
    )
    threads = Line(
        path="decoding alone, by two threads",
        published="",
        ours=f"{ms(two.median / len(paths))} an image, {factor(one, two):.2f} times one thread's rate",
        factor=None,
        goal="1.9 times",
        check="",
        figures={"one": one, "two": two, "images": len(paths), "of_one": round(factor(one, two), 3)},
    )
    return [line, threads]


def unpacks(sizes: dict[str, Any]) -> Run:
    torch.set_num_threads(1)
    transform = _published(clip_preprocess())

    def run(turn: int) -> dict[str, Any]:
        pixels = published.extract(lambda pixels: pixels, transform, sizes["paths"], "cpu")  # (N, 3, S, S)
        return {"pixels": pixels[:20].numpy()}

    return run


def unpack(sizes: dict[str, Any]) -> Run:
    keep_freed_memory()  # as every stage
    torch.set_num_threads(1)
    files = ImageFiles(sizes["paths"], clip_preprocess())

    def run(turn: int) -> dict[str, Any]:
        pixels = torch.cat([files.preprocess.normalize(batch) for batch in pixel_batches(files)])
        return {"pixels": pixels[:20].numpy()}  # (20, 3, S, S)

    return run


def decode_by_one(sizes: dict[str, Any], threads: int = 1) -> Run:
    """Decodes to bytes, as for a GPU. The threads have allocated their memory before."""
    keep_freed_memory()
    files = ImageFiles(sizes["paths"], clip_preprocess())

    def run(turn: int) -> dict[str, Any]:
        for _ in pixel_batches(files, workers=threads):
            pass
        return {}

    run(-1)
    return run


def decode_by_two(sizes: dict[str, Any]) -> Run:
    return decode_by_one(sizes, threads=2)


def preprocess_of(sizes: dict[str, Any]) -> Preprocess:
    side = 64 if sizes["tiny"] else 224
    return vgg16_preprocess(side) if sizes["kind"] == "vgg16" else clip_preprocess(side)


def _published(ours: Preprocess) -> Callable[[Image.Image], torch.Tensor]:
    return published.preprocess(ours.image_size, ours.resize, ours.interpolation, ours.mean, ours.std)


def _measure(title: str, sizes: dict[str, Any], rounds: int, goal: str) -> list[Line]:
    with tempfile.TemporaryDirectory() as folder:
        sizes = sizes | {"paths": material.photographs(sizes["images"], Path(folder))}
        sizes["images"] = len(sizes["paths"])
        found = in_turn({"published": publishes, "ours": ours, "network": network}, sizes, rounds)
    images, some = sizes["images"], sizes["some"]
    theirs = some / found["published"].median  # images per second, each with all of its captions
    rate, bare = (images / found[name].median for name in ("ours", "network"))
    a, b = found["published"].results[0]["features"][::CAPTIONS], found["ours"].results[0]["features"][:some]
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    for side in found.values():
        side.results.clear()
    line = Line(
        path=f"{title}, {images} JPEGs, {CAPTIONS} captions each",
        published=f"{theirs:.2f} images/s (from {some} images)",
        ours=f"{rate:.1f} images/s, {rate / bare:.0%} of the network's {bare:.1f}",
        factor=rate / theirs,
        goal=goal,
        check=f"cosine {cosines.min():.5f} or more",
        figures={
            **found,
            "images": images,
            "published_images": some,
            "share_of_network": round(rate / bare, 3),
        },
    )
    return [line]


def publishes(sizes: dict[str, Any]) -> Run:
    with checkpoint(sizes) as folder:
        opened, preprocess, _ = open_vgg16(folder) if sizes["kind"] == "vgg16" else open_clip(folder)
    model = opened.eval().to(pick_device())
    forward = model.fc7 if sizes["kind"] == "vgg16" else model.encode_image
    transform = _published(preprocess)
    paths = [path for path in sizes["paths"][: sizes["some"]] for _ in range(CAPTIONS)]
    published.extract(forward, transform, paths[:2], str(pick_device()))
    return lambda turn: {"features": published.extract(forward, transform, paths, str(pick_device())).numpy()}


def ours(sizes: dict[str, Any]) -> Run:
    keep_freed_memory()  # as every stage
    encoder, paths = _encoder(sizes), sizes["paths"]
    ids, sha256s = [Path(path).stem for path in paths], [sha256_of(path) for path in paths]
    size = encoder.preprocess.image_size
    encoder(
        torch.zeros(_batch(sizes), 3, size, size, dtype=torch.uint8).contiguous(
            memory_format=torch.channels_last
        )
    )

    def run(turn: int) -> dict[str, Any]:
        quiet = contextlib.redirect_stdout(io.StringIO())
        # A working folder of its own: rows of earlier runs are not found.
        with quiet, tempfile.TemporaryDirectory() as folder, working_in(folder):
            workers = sizes.get("workers", WORKERS)
            extract(Path(folder) / "features.h5", encoder, ids, paths, sha256s, _batch(sizes), workers)
            return {"features": FeatureStore.open(Path(folder) / "features.h5").load(ids).astype(np.float32)}

    return run


def network(sizes: dict[str, Any]) -> Run:
    """The network alone on normalised images, in its own type and memory format, on its device."""
    keep_freed_memory()
    encoder = _encoder(sizes)
    batches = [
        encoder.preprocess.normalize(pixels.to(encoder.device)).to(encoder.dtype)
        for pixels in pixel_batches(
            ImageFiles(sizes["paths"], encoder.preprocess), _batch(sizes), sizes.get("workers", WORKERS)
        )
    ]

    @torch.inference_mode()
    def run(turn: int) -> dict[str, Any]:
        for batch in batches:
            encoder.forward(batch)
        return {}

    with torch.inference_mode():
        encoder.forward(batches[0])
    return run


def _batch(sizes: dict[str, Any]) -> int:
    return min(sizes.get("batch", BATCH), sizes["images"])


def _encoder(sizes: dict[str, Any]) -> Encoder:
    with checkpoint(sizes) as folder:
        return load_vgg16(folder) if sizes["kind"] == "vgg16" else load_clip(folder, normalize=False)


@contextlib.contextmanager
def checkpoint(sizes: dict[str, Any]):
    """A folder with the network's random weights, equal in every process. Exists inside the block only."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        if sizes["kind"] == "vgg16":
            side = 64 if sizes["tiny"] else 224
            config = vgg16_model.VGG16Config(image_size=side, width=0.1 if sizes["tiny"] else 1.0)
            save_vgg16(folder, vgg16_model.VGG16(config), vgg16_preprocess(side))
        else:
            side, layers, width = (64, 2, 128) if sizes["tiny"] else (224, 12, 768)
            # Small: the text tower is not used here.
            text = dict(context_length=77, vocab_size=49408, text_width=64, text_layers=1)
            vision = dict(image_size=side, vision_layers=layers, vision_width=width, vision_patch_size=32)
            save_clip(
                folder, clip_model.build(clip_model.CLIPConfig(512, **vision, **text)), clip_preprocess(side)
            )
        yield folder
