"""The benchmarks' data: real captions, photographs and token counts where available, scenes otherwise."""

import os
import random
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from captioning.data.sources import flickr8k
from captioning.decoders.vocabulary import Text, train_bpe
from scenes import making
from scenes.captions import write_captions
from scenes.facts import sample

ROOT = Path(__file__).parent.parent
BESIDE = ROOT.parent / "shared"  # where data may lie beside the project
FLICKR8K = ("FLICKR8K", (BESIDE / "flickr8k", ROOT / flickr8k.DEFAULT_ROOT))
PHOTOGRAPHS = ("PHOTOGRAPHS", (BESIDE / "flickr8k-original-sample",))
TOKENIZER = ("GPT2_TOKENIZER", (BESIDE / "gpt2-tokenizer", ROOT / "downloads" / "gpt2"))


def locate(place: tuple[str, tuple[Path, ...]]) -> Path | None:
    """The folder that an environment variable names, or the first usual one that exists."""
    variable, usual = place
    if os.environ.get(variable):
        return Path(os.environ[variable]).expanduser()
    return next((folder for folder in usual if folder.is_dir()), None)


def captions(count: int) -> list[list[str]]:
    """Five captions for each of `count` images, Flickr8k's training images or scenes, repeated if need be."""
    found = _flickr8k_captions() or scenes_captions(min(count, 600))
    return [found[i % len(found)] for i in range(count)]


@cache
def _flickr8k_captions() -> list[list[str]]:
    root = locate(FLICKR8K)
    if root is None:
        return []
    reading = flickr8k.read(SimpleNamespace(root=str(root), annotations=None), seed=0)
    found = [item.captions for item in reading.items if item.split == "train" and len(item.captions) == 5]
    random.Random(0).shuffle(found)
    return found


@cache
def scenes_captions(count: int) -> list[list[str]]:
    facts = (sample(np.random.default_rng([0, index, 0])) for index in range(count))
    return [write_captions(f, np.random.default_rng([0, index, 1]))[:5] for index, f in enumerate(facts)]


def gpt2_text() -> Text:
    """GPT-2's own tokenizer; without its files, one trained on the captions."""
    folder = locate(TOKENIZER)
    if folder is None:
        return train_bpe([caption for of_image in captions(600) for caption in of_image], 1000)
    from captioning.decoders.clipcap import open_tokenizer

    return open_tokenizer(folder)


def tokens(text: Text, count: int) -> list[list[list[int]]]:
    """Token ids of five captions of each of `count` images.

    No caption holds token 0, which the published loop treats as padding: a caption with an exclamation mark
    (GPT-2's token 0) is replaced by the image's next one, and an end-of-text token of that number by another
    token.
    """
    flat = iter(text.encode([caption for of_image in captions(count) for caption in of_image]))
    encoded = [[next(flat) for _ in range(5)] for _ in range(count)]
    if text.eos_id == 0:
        encoded = [
            [[token or text.size for token in caption] for caption in of_image] for of_image in encoded
        ]
    plain = [[caption for caption in of_image if 0 not in caption] or of_image for of_image in encoded]
    return [[of_image[i % len(of_image)] for i in range(5)] for of_image in plain]


def photographs(count: int, folder: Path) -> list[str]:
    """Paths of `count` image files: photographs at full size, or scenes of that size drawn into `folder`."""
    found = locate(PHOTOGRAPHS)
    if found:
        paths = sorted(map(str, found.glob("*.jpg")))[:count]
        if paths:
            return paths
    return [str(folder / name) for _, name, *_ in making.write(folder, min(count, 64), seed=0, size=448)]


def described() -> dict[str, str]:
    """A description of the data found, without this machine's paths."""
    return {
        "captions": "Flickr8k's" if locate(FLICKR8K) else "scenes'",
        "tokenizer": "GPT-2's" if locate(TOKENIZER) else "trained on the captions",
        "images": "photographs at their original size" if locate(PHOTOGRAPHS) else "scenes of 448 pixels",
    }
