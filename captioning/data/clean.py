"""Decides which captions and images are usable, by the same rules for every source.

Everything left out is listed with its reason. A caption is folded to one line: the PTB tokenizer counts `\\r`
and U+2028 as line ends, which would misalign all captions after it. A caption is dropped if it is empty, has
no words, is longer than data.max_words, or, outside of published sets, repeats another caption of its image
(a repeated reference would raise the scores of people). An image is dropped if its file is missing or not a
usable image (`captioning.core.pictures` decides, for all stages), if it has no captions left, or if its bytes
equal those of an image in a stricter split. If more than data.max_dropped is dropped, cleaning fails, so that
nobody trains on an incomplete data set without noticing.

Texts are read and written in blocks: memory holds about 100 bytes per image, beside what is dropped.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np
from PIL import Image

from captioning.core.errors import UserError
from captioning.core.pictures import ImageFault, open_rgb, read_content
from captioning.core.progress import track
from captioning.core.texts import Chosen, Column, Grouped, Index, Texts
from captioning.core.threads import in_order
from captioning.data.dataset import SPLITS
from captioning.data.ptb import ptb_tokens
from captioning.data.sources.base import Dropped, Items, Reading, count_reasons

PUBLISHED = ("flickr8k", "karpathy")  # sources whose captions stay as published, repeats included
LONGEST_WORD = 20  # a caption with more characters per word on average counts as too long
AHEAD = 1_000  # most images checked beyond the current one
JOINERS = "\u200c\u200d"  # invisible, but part of letters and emoji


@dataclass(frozen=True)
class CleanImage:
    id: str
    path: str
    split: str
    sha256: str
    captions: list[tuple[str, str]]  # caption, PTB tokens


@dataclass
class Cleaned:
    images: Sequence[CleanImage]  # in the order train, dev, test, and within a split in the source's order
    dropped: list[Dropped]


class CleanImages(Column[CleanImage]):
    """All images that were read, with what is usable of each. Columns of N texts or lists of texts."""

    def __init__(self, items: Items, hashes: Texts, captions: Grouped, tokens: Grouped) -> None:
        self.items, self.hashes, self.captions, self.tokens = items, hashes, captions, tokens

    def __len__(self) -> int:
        return len(self.items)

    def _read(self, start: int, stop: int) -> list[CleanImage]:
        part = slice(start, stop)
        splits = [SPLITS[number] for number in self.items.splits[part].tolist()]
        said = [
            [(text, words) for text, words in zip(*of_image, strict=True) if words.split()]
            for of_image in zip(self.captions[part], self.tokens[part], strict=True)
        ]
        columns = (self.items.ids[part], self.items.paths[part], splits, self.hashes[part], said)
        return list(map(CleanImage, *columns))


def clean(reading: Reading, data, workers: int) -> Cleaned:
    """Checks everything that was read. `data` is the section of the settings.

    Raises UserError if more than `data.max_dropped` of the images or captions are dropped, or if a split is
    empty.
    """
    items, dropped = reading.items, list(reading.dropped)
    usable = items.splits >= 0  # (N,): each step takes out what it drops
    dropped += [
        Dropped(image_id, "in no split", fault=False)
        for image_id in Chosen(items.ids, np.flatnonzero(~usable))
    ]
    _drop_repeats(items, usable, dropped)
    hashes = _check_images(items, usable, workers, dropped)
    _drop_copies(items, hashes, usable, dropped)
    published = data.source in PUBLISHED
    captions = Grouped.of(
        _check_captions(image_id, texts, data.max_words, published, dropped) if use else []
        for image_id, texts, use in zip(items.ids, items.captions, usable, strict=True)
    )
    tokens = Grouped(Texts(ptb_tokens(captions.texts)), captions.ends)
    _drop_wordless(items, captions, tokens, usable, dropped)
    _check_shares(dropped, reading, data.max_dropped)
    _check_splits(items.splits[usable], reading, dropped)
    places = np.flatnonzero(usable)
    order = places[items.splits[places].argsort(kind="stable")]
    return Cleaned(Chosen(CleanImages(items, hashes, captions, tokens), order), dropped)


def _drop_repeats(items: Items, usable: np.ndarray, dropped: list[Dropped]) -> None:
    places = np.flatnonzero(usable)
    repeats = places[Index(Chosen(items.ids, places)).repeats()]
    for item in Chosen(items, repeats):
        dropped.append(Dropped(f"{item.id} ({item.path.name})", "id of another image: the first is kept"))
    usable[repeats] = False


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


def _check_captions(
    image_id: str, captions: list[str], max_words: int, repeats: bool, dropped: list[Dropped]
) -> list[str]:
    """The usable captions of an image, cleaned; `repeats`: whether equal ones may stay."""
    usable = []
    for raw in captions:
        text = clean_caption(raw)
        if not text:
            dropped.append(Dropped(image_id, "empty caption", ""))
        elif not any(char.isalnum() for char in text):
            dropped.append(Dropped(image_id, "caption without words", text))
        elif len(text.split()) > max_words or len(text) > LONGEST_WORD * max_words:
            dropped.append(Dropped(image_id, "caption longer than data.max_words", text))
        elif text in usable and not repeats:
            dropped.append(Dropped(image_id, "caption repeats another of its picture", text, fault=False))
        else:
            usable.append(text)
    return usable


def _check_images(items: Items, usable: np.ndarray, workers: int, dropped: list[Dropped]) -> Texts:
    """The hashes of the items' files (N,); "" if a file is not usable."""
    Image.init()  # registers the formats once; otherwise each thread would

    def inspect(image: tuple[str, bool]) -> tuple[str, str | None]:
        path, wanted = image
        return inspect_image(Path(path)) if wanted else ("", None)

    def hashes() -> Iterator[str]:
        images = zip(items.paths, usable, strict=True)
        results = in_order(inspect, images, max(1, workers), AHEAD, name=itemgetter(0))
        for place, (sha256, fault) in enumerate(track(results, "checking images", len(items), "image")):
            if fault:
                dropped.append(Dropped(items.ids[place], fault))
                usable[place] = False
            yield sha256

    return Texts(hashes())


def inspect_image(path: Path) -> tuple[str, str | None]:
    """(SHA-256 of the file's bytes, None), or ("", what is wrong). Later stages can use images that pass."""
    try:
        content = read_content(path)
        open_rgb(content, str(path), enough=1)
    except ImageFault as fault:
        return "", fault.reason
    return hashlib.sha256(content).hexdigest(), None


def _drop_copies(items: Items, hashes: Texts, usable: np.ndarray, dropped: list[Dropped]) -> None:
    """Drops an image if its file has the same bytes as an image in a stricter split."""
    splits = np.where(usable, items.splits, -1)
    first = Index(hashes).find(hashes)  # the first image with the same bytes
    strictest = splits.copy()
    np.maximum.at(strictest, first, splits)
    for place in np.flatnonzero(splits < strictest[first]).tolist():
        split = SPLITS[strictest[first[place]]]
        dropped.append(Dropped(items.ids[place], f"same content as a picture in {split}"))
        usable[place] = False


def _drop_wordless(
    items: Items, captions: Grouped, tokens: Grouped, usable: np.ndarray, dropped: list[Dropped]
) -> None:
    """Drops captions without words, then images without captions."""
    empty = []
    for place, (texts, words) in enumerate(zip(captions, tokens, strict=True)):
        wordless = [text for text, of_text in zip(texts, words, strict=True) if not of_text.split()]
        dropped += [Dropped(items.ids[place], "caption without words", text) for text in wordless]
        if usable[place] and len(wordless) == len(texts):
            empty.append(Dropped(items.ids[place], "no usable captions"))
            usable[place] = False
    dropped += empty


def _check_shares(dropped: list[Dropped], reading: Reading, max_dropped: float) -> None:
    """Raises UserError if too many images or captions are faulty. Dropped images' captions do not count."""
    faults = [entry for entry in dropped if entry.fault]
    images = {entry.image for entry in faults if entry.caption is None}
    captions = [entry for entry in faults if entry.caption is not None]
    index = Index(reading.items.ids)
    read_images = len(index.firsts()) + int((index.find(images) < 0).sum())
    listed_captions = sum(entry.caption is not None for entry in reading.dropped)
    read_captions = len(reading.items.captions.texts) + listed_captions
    counts = ("images", len(images), read_images), ("captions", len(captions), read_captions)
    for what, gone, total in counts:
        if gone > max_dropped * total:
            entries = [entry for entry in faults if (entry.caption is None) == (what == "images")]
            raise UserError(
                f"{gone} of {total} {what} ({gone / total:.1%}) cannot be used, more than data.max_dropped = "
                f"{max_dropped} allows: {describe(entries)}; mend the data, or raise data.max_dropped"
            )


def _check_splits(splits: np.ndarray, reading: Reading, dropped: list[Dropped]) -> None:
    sizes = dict(zip(SPLITS, np.bincount(splits, minlength=len(SPLITS)).tolist(), strict=True))
    empty = [split for split in SPLITS if not sizes[split]]
    if empty:
        found = ", ".join(f"{split} {sizes[split]}" for split in SPLITS)
        left = f"; left out: {count_reasons(dropped)}" if dropped else ""
        raise UserError(
            f"no image is left for {' and '.join(empty)} ({found}; splits by {reading.splits_from}){left}; "
            "every split needs images: train for training, dev for early stopping, test for scores"
        )


def describe(dropped: list[Dropped]) -> str:
    """A text such as `image file missing (12: a, b, c, ...)`, most frequent reason first."""
    parts = []
    for reason, count in Counter(entry.reason for entry in dropped).most_common():
        names = list(dict.fromkeys(entry.image for entry in dropped if entry.reason == reason))
        parts.append(f"{reason} ({count}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''})")
    return ", ".join(parts)
