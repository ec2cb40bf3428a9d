"""Your own pictures: a folder, and a CSV or JSON Lines file of `image,caption[,split]`.

    image,caption,split                     {"image": "beach/1.jpg", "caption": "It runs .", "split": "train"}
    beach/1.jpg,"A dog runs , wet .",train  {"image": "beach/1.jpg", "caption": ["A wet dog .", "It runs ."]}

A row holds one caption (a JSON record may hold a list). Image names are relative to `data.root`. Without a
split column, a seeded hash of an image's id gives its split, by data.dev_share and data.test_share. So a new
image moves no other, unless there are so few that a split would be empty. An id is the image's name without
its ending (`beach/1`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from captioning.core.errors import UserError, counted
from captioning.core.pictures import SUFFIXES
from captioning.data.dataset import SPLITS
from captioning.data.sources.base import (
    UNCAPTIONED,
    WRONG_PATH,
    Dropped,
    Item,
    Items,
    Reading,
    chance,
    in_two_splits,
    inside,
    split_name,
    strictest,
)
from captioning.data.sources.tables import read_csv, read_json_rows

ENDINGS = [form for suffix in SUFFIXES for form in (suffix, suffix.upper())]
USUAL_NAMES = ("captions.csv", "captions.jsonl", "captions.tsv", "captions.json", "captions.txt",
               "metadata.csv", "metadata.jsonl")  # fmt: skip


def locate(root: str | None, annotations: str | None) -> tuple[Path, Path]:
    """The folder of the images and the captions file. If only one is set, it is used to find the other."""
    if not root and not annotations:
        raise UserError(
            "data.source = folder needs data.root (the pictures' folder) and data.annotations "
            "(a CSV or JSON Lines of image,caption[,split])"
        )
    folder = Path(root).expanduser() if root else Path(annotations).expanduser().parent
    if not folder.is_dir():
        where = f"data.root = {root}" if root else f"the folder of data.annotations = {annotations}"
        raise UserError(f"{where} is not a folder (looked at {folder.absolute()}); {WRONG_PATH}")
    if not annotations:
        found = [folder / name for name in USUAL_NAMES if (folder / name).is_file()]
        if not found:
            looked = ", ".join(USUAL_NAMES)
            raise UserError(f"no captions in data.root = {root}: looked for {looked}; set data.annotations")
        return folder, found[0]
    file = Path(annotations).expanduser()
    places = [file, folder / file]
    found = [place for place in places if place.is_file()]
    if not found:
        looked = " and ".join(str(place.absolute()) for place in dict.fromkeys(places))
        raise UserError(f"data.annotations = {annotations} is not a file (looked at {looked}); {WRONG_PATH}")
    return folder, found[0]


def read(data, seed: int) -> Reading:
    """One item for each image, in the order of the file. Raises UserError if a file cannot be read."""
    folder, file = locate(data.root, data.annotations)
    if file.suffix.lower() in (".json", ".jsonl", ".ndjson"):
        rows, dropped = read_json_rows(file)
    else:
        rows, dropped = read_csv(file, required=("image", "caption"))
    if not rows:
        raise UserError(f"{file} has no captions")
    captions: dict[Path, list[str]] = {}
    splits: dict[Path, list[str | None]] = {}
    for row in rows:
        name = row["image"] if os.path.isfile(folder / row["image"]) else row["image"].strip()
        path = inside(folder, name)
        if path is None:
            reason = "path leads out of data.root" if name else "row without an image's name"
            dropped.append(Dropped(name, reason, caption=row["caption"]))
        else:
            captions.setdefault(path, []).append(row["caption"])
            splits.setdefault(path, []).append(split_name(row.get("split", ""), f"{file}, image {name}"))
    for path in [path for path in captions if not os.path.exists(path)]:
        other_case = [end for end in ENDINGS if end.lower() == path.suffix.lower()]
        found = [end for end in other_case if os.path.exists(path.with_suffix(end))]
        found += [end for end in ENDINGS if os.path.exists(f"{path}{end}")]
        if found:
            name = path.relative_to(os.path.abspath(folder)).as_posix()
            dropped.append(Dropped(name, f"no such file, but there is one that ends in {found[0]}"))
            del captions[path], splits[path]
    ids = name_images(list(captions), folder)
    items = Items(Item(ids[path], path, strictest(splits[path]), texts) for path, texts in captions.items())
    if (items.splits >= 0).any():
        dropped += [entry for path, given in splits.items() for entry in in_two_splits(ids[path], given)]
        splits_from = file.name
    else:
        items.splits = draw_splits(items.ids, seed, data.dev_share, data.test_share)
        splits_from = f"a hash of the ids, seed {seed}"
    dropped += _uncaptioned(captions, folder)
    named = f"{counted(len(items), 'picture')} named in {file}, looked for in {folder}/"
    return Reading(items, splits_from, dropped, [f"{named}; splits by {splits_from}"])


def name_images(paths: list[Path], folder: Path) -> dict[Path, str]:
    """Ids: paths in the folder without their endings. If `a.jpg` and `a.png` clash, the endings stay."""
    whole = {path: path.relative_to(os.path.abspath(folder)).as_posix() for path in paths}
    short = {path: Path(name).with_suffix("").as_posix() for path, name in whole.items()}
    uses = Counter(short.values())
    ids = {path: short[path] if uses[short[path]] == 1 else whole[path] for path in paths}
    return ids if len(set(ids.values())) == len(paths) else whole


def _uncaptioned(captions: dict[Path, list[str]], folder: Path) -> list[Dropped]:
    """The pictures without captions that lie beside captioned ones."""
    folders = sorted({path.parent for path in captions if path.parent.is_dir()})
    endings = {path.suffix for path in captions} - {""}  # a folder has none
    beside = (Path(entry) for one in folders for entry in os.scandir(one))
    bare = sorted(path for path in beside if path.suffix in endings and path not in captions)
    root = os.path.abspath(folder)
    return [Dropped(path.relative_to(root).as_posix(), UNCAPTIONED, fault=False) for path in bare]


def draw_splits(ids: Iterable[str], seed: int, dev_share: float, test_share: float) -> np.ndarray:
    """Gives test the ids with the smallest hashes, then dev. With three images or more, no split is empty.

    Returns numbers of SPLITS (N,).
    """
    if dev_share + test_share >= 1:
        raise UserError(
            f"data.dev_share = {dev_share} and data.test_share = {test_share} leave nothing to train on: "
            "their sum must be below 1"
        )
    chances = np.fromiter((chance(seed, image_id) for image_id in ids), float)
    ranked = chances.argsort(kind="stable")
    splits = np.full(len(ranked), SPLITS.index("train"), np.int8)
    start, limit, later = 0, 0.0, 2
    for split, share in (("test", test_share), ("dev", dev_share)):
        limit += share
        below = int((chances < limit).sum())
        end = min(max(below, start + (share > 0)), len(ranked) - later)
        splits[ranked[start:end]] = SPLITS.index(split)
        start, later = max(start, end), later - 1
    return splits
