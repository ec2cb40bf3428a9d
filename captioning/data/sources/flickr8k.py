"""Flickr8k (Hodosh et al. 2013) in its two common layouts.

The official archives:                     Kaggle's:
    Flicker8k_Dataset/*.jpg                    Images/*.jpg
    Flickr8k_text/Flickr8k.token.txt           captions.txt      (a CSV: image,caption)
    Flickr8k_text/Flickr_8k.trainImages.txt    (no split files)
    Flickr8k_text/Flickr_8k.devImages.txt
    Flickr8k_text/Flickr_8k.testImages.txt

Official split files are used if present, also beside Kaggle's files. Without them a seeded hash of the ids
draws 1,000 images for test, 1,000 for dev and 6,000 for train. Such scores are not comparable with published
scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from captioning.core.errors import UserError
from captioning.data.dataset import SPLITS
from captioning.data.sources.base import (
    Dropped,
    Item,
    Items,
    Reading,
    chance,
    in_two_splits,
    inside,
    read_lines,
    strictest,
)
from captioning.data.sources.tables import read_csv

IMAGE_FOLDERS = (
    "Flicker8k_Dataset", "Flickr8k_Dataset", "Flickr8k_Dataset/Flicker8k_Dataset", "Images", "images",
)  # fmt: skip
TEXT_FOLDERS = ("Flickr8k_text", ".", "text")
TOKEN_FILE = "Flickr8k.token.txt"
CAPTIONS_FILE = "captions.txt"
SPLIT_FILES = {split: f"Flickr_8k.{split}Images.txt" for split in SPLITS}
DEFAULT_ROOT = "downloads/flickr8k"
KNOWN_WITHOUT_IMAGE = {"2258277193_586949ec62.jpg.1"}  # has captions, but no published image


@dataclass(frozen=True)
class Layout:
    images: Path
    captions: Path  # Flickr8k.token.txt or Kaggle's captions.txt
    splits: dict[str, Path] | None  # the three official split files, if present

    @property
    def official(self) -> bool:
        return self.captions.name == TOKEN_FILE


def locate(root: str | None) -> Layout:
    """Finds the images, captions and split files at `data.root` (null: downloads/flickr8k)."""
    folder = Path(root or DEFAULT_ROOT).expanduser()
    remedy = (
        f"set data.root to a folder with Flicker8k_Dataset/ and Flickr8k_text/ (the official archives) "
        f"or with Images/ and {CAPTIONS_FILE} (Kaggle's)"
    )
    if not folder.is_dir():
        setting = f"data.root = {root}" if root else f"data.root is null and {DEFAULT_ROOT}"
        raise UserError(
            f"Flickr8k is missing: {setting} is not a folder (looked at {folder.absolute()}); {remedy}"
        )
    images = [folder / name for name in IMAGE_FOLDERS if next((folder / name).glob("*.jpg"), None)]
    if not images:
        looked = ", ".join(IMAGE_FOLDERS)
        raise UserError(
            f"no images of Flickr8k in {folder.absolute()}: looked for *.jpg in {looked}; {remedy}"
        )
    texts = [folder / name for name in TEXT_FOLDERS]
    files = [text / name for name in (TOKEN_FILE, CAPTIONS_FILE) for text in texts]
    captions = [file for file in files if file.is_file()]
    if not captions:
        looked = f"{TOKEN_FILE} and {CAPTIONS_FILE} in {', '.join(TEXT_FOLDERS)}"
        raise UserError(f"no captions of Flickr8k in {folder.absolute()}: looked for {looked}; {remedy}")
    return Layout(images[0], captions[0], _locate_splits(texts))


def _locate_splits(folders: list[Path]) -> dict[str, Path] | None:
    for folder in folders:
        files = {split: folder / name for split, name in SPLIT_FILES.items()}
        missing = [file.name for file in files.values() if not file.is_file()]
        if not missing:
            return files
        if len(missing) < len(files):
            raise UserError(
                f"{folder} has some split files of Flickr8k but not {' and '.join(missing)}: restore them, "
                "or remove all three to split by data's seed"
            )
    return None


def read(data, seed: int) -> Reading:
    """All images that have captions, in the order of the split files if present.

    Raises UserError if images, captions or a part of the split files are missing.
    """
    layout = locate(data.root)
    reading, items = Reading(Items(), ""), []
    captions = _read_token_file(layout, reading) if layout.official else _read_captions_file(layout, reading)
    listed = _read_splits(layout.splits) if layout.splits else _draw_splits(captions, seed)
    kind = "official" if layout.official else "Kaggle's"
    reading.splits_from = "the official split files" if layout.splits else f"a hash of the ids, seed {seed}"
    files = f"{layout.images} and {layout.captions}"
    reading.notes.append(f"Flickr8k in {kind} layout: {files}; splits by {reading.splits_from}")
    if data.annotations:
        reading.notes.append(
            f"data.annotations = {data.annotations} is not used: Flickr8k's captions lie in data.root"
        )
    if not layout.splits:
        reading.notes.append(f"scores do not compare with published ones: there is no {SPLIT_FILES['train']}")
    for name, splits in listed.items():
        reading.dropped += in_two_splits(_id(name), splits)
        if name in captions:
            items += _item(reading, layout, name, strictest(splits), captions[name])
        else:
            reading.dropped.append(Dropped(_id(name), "in a split file but without captions"))
    for name, texts in captions.items():
        if name in KNOWN_WITHOUT_IMAGE and not (layout.images / name).exists():
            reading.dropped.append(Dropped(name, "captions without an image, as published", fault=False))
        elif name not in listed:
            items += _item(reading, layout, name, None, texts)
    reading.items = Items(items)
    return reading


def _item(reading: Reading, layout: Layout, name: str, split: str | None, captions: list[str]) -> list[Item]:
    path = inside(layout.images, name)
    if path is None:
        reading.dropped.append(Dropped(name, "path leads out of the image folder"))
        return []
    return [Item(_id(name), path, split, captions)]


def _read_token_file(layout: Layout, reading: Reading) -> dict[str, list[str]]:
    """Reads lines of `name.jpg#0<tab>caption`. Quotes and commas have no special meaning here."""
    captions: dict[str, list[str]] = {}
    numbered: set[str] = set()
    for number, line in enumerate(read_lines(layout.captions), 1):
        if not line.strip():
            continue
        key, tab, caption = line.partition("\t")
        name = key.strip().rpartition("#")[0]
        if not tab or not name:
            reading.dropped.append(
                Dropped(f"line {number}", "line is not `name#number<tab>caption`", caption=line)
            )
        elif key.strip() in numbered:
            reading.dropped.append(Dropped(_id(name), "caption number given twice", caption=caption))
        else:
            numbered.add(key.strip())
            captions.setdefault(name, []).append(caption)
    return captions


def _read_captions_file(layout: Layout, reading: Reading) -> dict[str, list[str]]:
    rows, reading.dropped = read_csv(layout.captions, required=("image", "caption"))
    captions: dict[str, list[str]] = {}
    for row in rows:
        captions.setdefault(row["image"].strip(), []).append(row["caption"])
    return captions


def _read_splits(files: dict[str, Path]) -> dict[str, list[str]]:
    """{image name: the splits that list it}, in the order of the files."""
    listed: dict[str, list[str]] = {}
    for split, path in files.items():
        for line in read_lines(path):
            if line.strip():
                listed.setdefault(line.strip(), []).append(split)
    return listed


def _draw_splits(captions: dict[str, list[str]], seed: int) -> dict[str, list[str]]:
    """Draws 6,000 train, 1,000 dev and 1,000 test images; the rest is in no split.

    With fewer than 8,000 images, dev and test get an eighth each.
    """
    names = sorted(captions.keys() - KNOWN_WITHOUT_IMAGE, key=lambda name: (chance(seed, _id(name)), name))
    held_out = min(1000, len(names) // 8)
    sizes = {"test": held_out, "dev": held_out, "train": min(6000, len(names) - 2 * held_out)}
    drawn, start = {}, 0
    for split, size in sizes.items():
        drawn |= {name: [split] for name in names[start : start + size]}
        start += size
    return {name: drawn[name] for name in captions if name in drawn}


def _id(name: str) -> str:
    return name.rpartition(".")[0] or name
