"""What all data sources share: their result types, reading of text files, and safe file names.

A source module has one function, `read(data, seed) -> Reading`. It knows a layout on disk and does no
cleaning. `captioning.data.clean` then checks captions and image files by the same rules for all sources.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from captioning.core.errors import UserError
from captioning.core.texts import Column, Grouped, Texts, blocks
from captioning.data.dataset import SPLITS

OTHER_NAMES = {
    **dict.fromkeys(("training", "restval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "development"), "dev"),
    "testing": "test",
}
UNCAPTIONED = "picture without a caption"  # the reason for Dropped; not a fault
WRONG_PATH = "correct it in params.yaml (`git diff params.yaml` shows what differs from HEAD)"
SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: JSON can hold it, a file name cannot


@dataclass
class Item:
    """One image and its captions, as the source has them."""

    id: str  # unique in the data set: the file's name without its ending, or COCO's id
    path: Path
    split: str | None  # train | dev | test; None: in no split
    captions: list[str]


class Items(Column[Item]):
    """Items in columns that may be larger than memory: see `captioning.core.texts`.

    Attributes:
        ids, paths: texts (N,).
        splits: numbers of SPLITS (N,); -1: in no split.
        captions: lists of texts (N,).
    """

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self.ids, self.paths, captions = Texts(), Texts(), Texts()
        splits, counts = array("b"), array("q", [0])
        for block in blocks(items):
            self.ids.extend([item.id for item in block])
            self.paths.extend([str(item.path) for item in block])
            captions.extend([caption for item in block for caption in item.captions])
            splits.extend(SPLITS.index(item.split) if item.split else -1 for item in block)
            counts.extend(len(item.captions) for item in block)
        self.splits = np.array(splits)
        self.captions = Grouped(captions, np.cumsum(counts))

    def __len__(self) -> int:
        return len(self.splits)

    def _read(self, start: int, stop: int) -> list[Item]:
        splits = [(*SPLITS, None)[number] for number in self.splits[start:stop].tolist()]
        columns = (self.ids[start:stop], map(Path, self.paths[start:stop]), splits, self.captions[start:stop])
        return list(map(Item, *columns))


@dataclass(frozen=True)
class Dropped:
    """An image, or one caption of an image, that is left out of the data set."""

    image: str
    reason: str
    caption: str | None = None  # None means the whole image
    fault: bool = True  # False if known and harmless: not counted against data.max_dropped


@dataclass
class Reading:
    """What a source found: its items in the source's order, what it left out, and its decisions."""

    items: Items
    splits_from: str  # where the splits come from, in words
    dropped: list[Dropped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # sentences to print


def read_text(path: Path) -> str:
    """Reads UTF-8 text, or UTF-16 with a byte order mark. Keeps line ends, not the mark. Raises UserError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from None


def unix_line_ends(text: str) -> str:
    r"""Replaces `\r\n` by `\n`.

    In a file without `\n`, a `\r` ends a line; elsewhere it becomes a space. U+2028 and similar characters
    stay, as they are part of a caption. So do not use `str.splitlines` on this text.
    """
    if "\n" not in text:
        return text.replace("\r", "\n")
    return re.sub(r"\r(?!\n)", " ", text).replace("\r\n", "\n")


def read_lines(path: Path) -> list[str]:
    return unix_line_ends(read_text(path)).split("\n")


def inside(root: Path, name: str) -> Path | None:
    """The path of image `name` in folder `root`; None if the name leads out of it (`../x.jpg`, `/etc/x.jpg`).

    Backslashes are folder separators unless a file has one in its name. Accents match in composed and
    decomposed form. Links inside the folder may point anywhere: the owner made them.
    """
    if not name or "\0" in name or SURROGATE.search(name):
        return None
    root = Path(os.path.abspath(root))
    path = root / os.path.normpath(root / name)
    if "\\" in name and not os.path.exists(path):
        path = Path(os.path.normpath(root / name.replace("\\", "/")))
    if path == root or not path.is_relative_to(root):
        return None
    if not name.isascii() and not os.path.exists(path):
        for form in ("NFC", "NFD"):
            composed = Path(unicodedata.normalize(form, str(path.relative_to(root))))
            if os.path.exists(root / composed):
                return root / composed
    return path


def split_name(value: str, where: str) -> str | None:
    """train, dev or test for any of their usual names; None for an empty name."""
    name = value.strip().lower()
    name = OTHER_NAMES.get(name, name)
    if name and name not in SPLITS:
        known = ", ".join(OTHER_NAMES)
        raise UserError(f"{where}: split is {value!r}, expected train, dev or test (also accepted: {known})")
    return name or None


def strictest(splits: Iterable[str | None]) -> str | None:
    """The strictest of an image's splits: test, then dev, then train. No test image is used for training."""
    return max((split for split in splits if split), key=SPLITS.index, default=None)


def in_two_splits(image: str, splits: Iterable[str | None]) -> list[Dropped]:
    """Records that an image with several splits keeps only the strictest."""
    given = sorted({split for split in splits if split}, key=SPLITS.index)
    if len(given) < 2:
        return []
    return [Dropped(image, f"listed in {' and '.join(given)}: kept in {given[-1]} only", fault=False)]


def chance(seed: int, image_id: str) -> float:
    """A number in [0, 1) that depends only on the seed and the id. A new image changes no other's number."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{image_id}".encode()).digest()[:8], "big") / 2**64


def count_reasons(dropped: Iterable[Dropped]) -> str:
    """A text such as `image file missing (12), empty caption (3)`, most frequent first."""
    counts = Counter(entry.reason for entry in dropped)
    return ", ".join(f"{reason} ({count})" for reason, count in counts.most_common())
