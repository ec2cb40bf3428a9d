"""Makes scenes from a seed: one as an object, or all of them as files.

    scene = draw(index=7, seed=0)      # scene.image, scene.facts, scene.captions
    for one in write(Path("data/images"), images=10_000, seed=0, size=224, workers=2): ...

10,000 scenes take about two minutes on one core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from scenes.captions import write_captions
from scenes.drawing.compose import paint
from scenes.facts import sample

JPEG_QUALITY = 92


@dataclass(frozen=True)
class Scene:
    """One picture, its facts and its captions."""

    image: Image.Image  # RGB, size x size
    facts: dict
    captions: list[str]


def draw(index: int, seed: int, size: int = 224) -> Scene:
    """The scene number `index` of the set `seed`: equal arguments give equal scenes.

    Facts, captions and picture each have a random generator, so that a change to the drawing does not change
    captions.
    """
    facts = sample(np.random.default_rng([seed, index, 0]))
    captions = write_captions(facts, np.random.default_rng([seed, index, 1]))
    return Scene(paint(facts, np.random.default_rng([seed, index, 2]), size), facts, captions)


def split_of(index: int) -> str:
    """train, dev or test: of every ten scenes the ninth is dev and the tenth test."""
    return {8: "dev", 9: "test"}.get(index % 10, "train")


def write(
    folder: Path,
    images: int,
    seed: int,
    size: int = 224,
    workers: int = 1,
    start: Callable[[], None] | None = None,
) -> Iterator[tuple[str, str, str, list[str], dict]]:
    """Draw `images` scenes into `folder` as 00000.jpg, 00001.jpg, ...

    Yields (id, file name relative to `folder`, split, captions, facts) a scene, in order, as soon as it is
    drawn. The files' bytes depend on `images`' indices, `seed` and `size` only, not on `workers`. Each worker
    process calls `start` first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    job = partial(_write_one, folder, seed, size)
    if workers <= 1:
        yield from map(job, range(images))
        return
    with ProcessPoolExecutor(workers, initializer=start) as pool:
        yield from pool.map(job, range(images), chunksize=16)


def _write_one(folder: Path, seed: int, size: int, index: int) -> tuple[str, str, str, list[str], dict]:
    scene, name = draw(index, seed, size), f"{index:05d}"
    scene.image.save(folder / f"{name}.jpg", quality=JPEG_QUALITY, subsampling=0)
    return name, f"{name}.jpg", split_of(index), scene.captions, scene.facts
