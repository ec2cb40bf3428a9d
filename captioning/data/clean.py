"""Decides which captions and images are usable, by the same rules for every source.

Everything left out is listed with its reason. A caption is folded to one line: the PTB tokenizer counts `\\r`
and U+2028 as line ends, which would misalign all captions after it. A caption is dropped if it is empty, has
no words, or is longer than data.max_words. An image is dropped if its file is missing or not a usable image
(`captioning.core.pictures` decides, for all stages), if it has no captions left, or if its bytes equal those
of an image in a stricter split. If more than data.max_dropped is dropped, cleaning fails, so that nobody
trains on an incomplete data set without noticing.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from captioning.core.errors import UserError
from captioning.core.pictures import ImageFault, open_rgb, read_content
from captioning.core.progress import track
from captioning.data.dataset import SPLITS
from captioning.data.ptb import ptb_tokenize
from captioning.data.sources.base import Dropped, Item, Reading, count_reasons

LONGEST_WORD = 20  # a caption with more characters per word on average counts as too long
JOINERS = "\u200c\u200d"  # invisible, but part of letters and emoji


@dataclass(frozen=True)
class CleanImage:
    id: str
    path: Path
    split: str
    sha256: str


@dataclass
class Cleaned:
    images: list[CleanImage]  # in the order train, dev, test, and within a split in the source's order
    captions: list[tuple[str, str, str]]  # image id, caption, PTB tokens; in the order of `images`
    dropped: list[Dropped]


def clean(reading: Reading, data, workers: int) -> Cleaned:
    """Checks everything that was read. `data` is the section of the settings.

    Raises UserError if more than `data.max_dropped` of the images or captions are dropped, or if a split is
    empty.
    """
    dropped = list(reading.dropped)
    dropped += [Dropped(item.id, "in no split", fault=False) for item in reading.items if not item.split]
    placed = _unique([item for item in reading.items if item.split], dropped)
    sound, hashes = _check_images(placed, workers, dropped)
    captions = [(item.id, text) for item in sound for text in _check_captions(item, data.max_words, dropped)]
    tokens = ptb_tokenize([text for _, text in captions])
    rows: dict[str, list[tuple[str, str, str]]] = {item.id: [] for item in sound}
    for (image, text), words in zip(captions, tokens, strict=True):
        if words.split():
            rows[image].append((image, text, words))
        else:
            dropped.append(Dropped(image, "caption without words", text))
    dropped += [Dropped(item.id, "no usable captions") for item in sound if not rows[item.id]]

    order = sorted((item for item in sound if rows[item.id]), key=lambda item: SPLITS.index(item.split))
    images = [CleanImage(item.id, item.path, item.split, hashes[item.id]) for item in order]
    _check_shares(dropped, reading, data.max_dropped)
    _check_splits(images, reading, dropped)
    return Cleaned(images, [row for item in order for row in rows[item.id]], dropped)


def _unique(items: list[Item], dropped: list[Dropped]) -> list[Item]:
    first: dict[str, Item] = {}
    for item in items:
        if first.setdefault(item.id, item) is not item:
            dropped.append(Dropped(f"{item.id} ({item.path.name})", "id of another image: the first is kept"))
    return list(first.values())


def clean_caption(text: str) -> str:
    """The caption as one line of composed characters.

    White space is folded. Control characters and invisible formatting characters are removed.
    """
    if not (text.isascii() and text.isprintable()):
        text = "".join(map(_visible, text))
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())


def _visible(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Cc":
        return " "
    return "" if category in ("Cf", "Cs") and char not in JOINERS else char


def _check_captions(item: Item, max_words: int, dropped: list[Dropped]) -> list[str]:
    usable = []
    for raw in item.captions:
        text = clean_caption(raw)
        if not text:
            dropped.append(Dropped(item.id, "empty caption", ""))
        elif not any(char.isalnum() for char in text):
            dropped.append(Dropped(item.id, "caption without words", text))
        elif len(text.split()) > max_words or len(text) > LONGEST_WORD * max_words:
            dropped.append(Dropped(item.id, "caption longer than data.max_words", text))
        else:
            usable.append(text)
    return usable


def _check_images(
    items: list[Item], workers: int, dropped: list[Dropped]
) -> tuple[list[Item], dict[str, str]]:
    """The items with usable files and no copy in a stricter split, and the files' hashes by id."""
    Image.init()  # registers the formats once; otherwise each thread would
    sound, hashes = [], {}
    with ThreadPoolExecutor(max(1, workers)) as pool:
        results = pool.map(inspect_image, (item.path for item in items))
        tracked = track(results, "checking images", len(items), "image")
        for item, (sha256, fault) in zip(items, tracked, strict=True):
            if fault:
                dropped.append(Dropped(item.id, fault))
            else:
                hashes[item.id] = sha256
                sound.append(item)
    return _drop_copies(sound, hashes, dropped), hashes


def inspect_image(path: Path) -> tuple[str, str | None]:
    """(SHA-256 of the file's bytes, None), or ("", what is wrong). Later stages can use images that pass."""
    try:
        content = read_content(path)
        open_rgb(content, str(path), enough=1)
    except ImageFault as fault:
        return "", fault.reason
    return hashlib.sha256(content).hexdigest(), None


def _drop_copies(items: list[Item], hashes: dict[str, str], dropped: list[Dropped]) -> list[Item]:
    """Drops an image if its file has the same bytes as an image in a stricter split."""
    strictest: dict[str, Item] = {}
    for item in items:
        other = strictest.setdefault(hashes[item.id], item)
        if SPLITS.index(item.split) > SPLITS.index(other.split):
            strictest[hashes[item.id]] = item
    kept = []
    for item in items:
        other = strictest[hashes[item.id]]
        if item.split == other.split:
            kept.append(item)
        else:
            dropped.append(Dropped(item.id, f"same file as an image in {other.split}"))
    return kept


def _check_shares(dropped: list[Dropped], reading: Reading, max_dropped: float) -> None:
    """Raises UserError if too many images or captions are faulty. Dropped images' captions do not count."""
    faults = [entry for entry in dropped if entry.fault]
    images = {entry.image for entry in faults if entry.caption is None}
    captions = [entry for entry in faults if entry.caption is not None]
    read_images = len({item.id for item in reading.items} | images)
    listed_captions = sum(entry.caption is not None for entry in reading.dropped)
    read_captions = sum(len(item.captions) for item in reading.items) + listed_captions
    counts = ("images", len(images), read_images), ("captions", len(captions), read_captions)
    for what, gone, total in counts:
        if gone > max_dropped * total:
            entries = [entry for entry in faults if (entry.caption is None) == (what == "images")]
            raise UserError(
                f"{gone} of {total} {what} ({gone / total:.1%}) cannot be used, more than data.max_dropped = "
                f"{max_dropped} allows: {describe(entries)}; mend the data, or raise data.max_dropped"
            )


def _check_splits(images: list[CleanImage], reading: Reading, dropped: list[Dropped]) -> None:
    sizes = Counter(image.split for image in images)
    empty = [split for split in SPLITS if not sizes[split]]
    if empty:
        found = ", ".join(f"{split} {sizes[split]}" for split in SPLITS)
        left = f"; left out: {count_reasons(dropped)}" if dropped else ""
        raise UserError(
            f"no image is left for {' and '.join(empty)} ({found}; splits by {reading.splits_from}){left}; "
            "every split needs images: train for training, dev for early stopping, test for scores"
        )


def describe(dropped: list[Dropped]) -> str:
    """A text such as `12 image file missing (a, b, c, ...)`, most frequent reason first."""
    parts = []
    for reason, count in Counter(entry.reason for entry in dropped).most_common():
        names = list(dict.fromkeys(entry.image for entry in dropped if entry.reason == reason))
        parts.append(f"{count} {reason} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})")
    return ", ".join(parts)
