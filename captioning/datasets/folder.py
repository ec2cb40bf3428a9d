"""Your own pictures: a folder, and a CSV or JSON Lines of `image,caption[,split]`.

    image,caption,split                        {"image": "beach/1.jpg", "caption": "A dog runs .", "split": "train"}
    beach/1.jpg,"A dog runs , wet .",train      {"image": "beach/1.jpg", "caption": ["A wet dog .", "It runs ."]}

One row a caption (a JSON record may hold a list of them); image names are relative to `data.root`. Without a split
column an image's split follows from a seeded hash of its id and from data.dev_share and data.test_share: adding an
image moves no other. An id is the image's name without its ending (`beach/1`).
"""

from __future__ import annotations

from pathlib import Path

from captioning.datasets.source import (
    SPLITS,
    Dropped,
    Item,
    Reading,
    chance,
    in_two_splits,
    inside,
    split_name,
    strictest,
)
from captioning.datasets.tables import read_csv, read_json_rows
from captioning.errors import UserError

USUAL_NAMES = (
    "captions.csv",
    "captions.jsonl",
    "captions.tsv",
    "captions.json",
    "captions.txt",
    "metadata.csv",
    "metadata.jsonl",
)


def locate(root: str | None, annotations: str | None) -> tuple[Path, Path]:
    """The folder of the images and the file of captions: one found by the other where only one is set."""
    if not root and not annotations:
        raise UserError(
            "data.source = folder needs data.root (the pictures' folder) and data.annotations "
            "(a CSV or JSON Lines of image,caption[,split])"
        )
    if not annotations:
        folder = Path(root).expanduser()
        found = [folder / name for name in USUAL_NAMES if (folder / name).is_file()]
        if not found:
            looked = ", ".join(USUAL_NAMES)
            raise UserError(f"no captions in data.root = {root}: looked for {looked}; set data.annotations")
        return folder, found[0]
    file = Path(annotations).expanduser()
    if root and not file.is_file() and (Path(root).expanduser() / file).is_file():
        file = Path(root).expanduser() / file
    if not file.is_file():
        raise UserError(f"data.annotations = {annotations} is no file (looked at {file.absolute()})")
    folder = Path(root).expanduser() if root else file.parent
    if not folder.is_dir():
        raise UserError(f"data.root = {root} is no folder (looked at {folder.absolute()})")
    return folder, file


def read(data, seed: int) -> Reading:
    """One item an image, in the order of the file."""
    folder, file = locate(data.root, data.annotations)
    if file.suffix.lower() in (".json", ".jsonl", ".ndjson"):
        rows, dropped = read_json_rows(file)
    else:
        rows, dropped = read_csv(file, required=("image", "caption"))
    if not rows:
        raise UserError(f"{file} has no captions")
    items, splits = _items(rows, folder, file, dropped)
    given = any(split for found in splits.values() for split in found)
    if given:
        for item in items:
            item.split = strictest(splits[item.id])
            dropped += in_two_splits(item.id, splits[item.id])
        splits_from = f"the split column of {file.name}"
    else:
        draw_splits(items, seed, data.dev_share, data.test_share)
        splits_from = f"a hash of the ids, seed {seed}"
    note = f"{len(items)} pictures of {folder} with captions from {file}; splits by {splits_from}"
    return Reading(items, splits_from, dropped, [note])


def _items(rows, folder: Path, file: Path, dropped: list[Dropped]) -> tuple[list[Item], dict[str, list[str | None]]]:
    """Rows gathered by picture: the items, and the splits that each one's rows name."""
    items: dict[Path, Item] = {}
    splits: dict[str, list[str | None]] = {}
    refused: set[str] = set()
    root = Path(folder).absolute()
    taken: dict[str, Path] = {}
    for row in rows:
        name = row["image"].strip()
        path = inside(folder, name)
        if path is None:
            if name not in refused:
                refused.add(name)
                dropped.append(Dropped(name, "path leads out of data.root" if name else "row without an image's name"))
            continue
        if path not in items:
            relative = path.relative_to(root)
            image_id = relative.with_suffix("").as_posix()
            if taken.setdefault(image_id, path) != path:  # a.jpg and a.png
                image_id = relative.as_posix()
            items[path] = Item(image_id, path, None, [])
        item = items[path]
        item.captions.append(row["caption"])
        splits.setdefault(item.id, []).append(split_name(row.get("split", ""), f"{file}, image {name}"))
    return list(items.values()), splits


def draw_splits(items: list[Item], seed: int, dev_share: float, test_share: float) -> None:
    """Test gets the ids with the smallest hashes, then dev, each at least one image where its share is above zero."""
    if dev_share + test_share >= 1:
        raise UserError(f"data.dev_share = {dev_share} and data.test_share = {test_share} leave nothing to train on")
    ranked = sorted(items, key=lambda item: (chance(seed, item.id), item.id))
    for item in ranked:
        item.split = "train"
    limit = 0.0
    for split, share in (("test", test_share), ("dev", dev_share)):
        limit += share
        rest = [item for item in ranked if item.split == SPLITS[0]]
        below = [item for item in rest if chance(seed, item.id) < limit]
        for item in below or rest[: 1 if share else 0]:
            item.split = split
