"""Karpathy's splits (Karpathy & Fei-Fei 2015): dataset_{flickr8k,flickr30k,coco}.json.

    {"dataset": "coco", "images": [
        {"filename": "COCO_val2014_000000391895.jpg", "filepath": "val2014", "cocoid": 391895,
         "split": "test", "sentences": [{"raw": "A man ...", "tokens": ["a", "man", ...]}, ...]}, ...]}

`restval` (COCO's validation images that are in neither dev nor test) joins train, as is usual. Ids are
COCO's, or the file name without its ending. If images would share an id, the id is the whole path.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from captioning.core.errors import UserError
from captioning.data.sources.base import (
    WRONG_PATH,
    Dropped,
    Item,
    Items,
    Reading,
    in_two_splits,
    inside,
    split_name,
    strictest,
)
from captioning.data.sources.tables import load_json

IMAGE_FOLDERS = (".", "images", "Images", "Flicker8k_Dataset", "Flickr8k_Dataset", "flickr30k-images",
                 "flickr30k_images", "flickr30k_images/flickr30k_images")  # fmt: skip


def locate(root: str | None, annotations: str | None) -> tuple[Path, Path]:
    """The folder at `data.root` and the JSON at `data.annotations` (null: the only dataset_*.json there)."""
    if not root:
        raise UserError(
            "data.source = karpathy needs data.root: the folder of the images "
            "(COCO: the one that holds train2014/ and val2014/)"
        )
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise UserError(f"data.root = {root} is not a folder (looked at {folder.absolute()}); {WRONG_PATH}")
    if annotations:
        file = Path(annotations).expanduser()
        file = file if file.is_file() else folder / file
        if not file.is_file():
            looked = f"{Path(annotations).absolute()} and {file}"
            raise UserError(
                f"data.annotations = {annotations} is not a file (looked at {looked}); {WRONG_PATH}"
            )
        return folder, file
    found = sorted(folder.glob("dataset_*.json"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise UserError(
            f"data.annotations is null, and {folder.absolute()} does not have exactly one dataset_*.json "
            f"({names}): set data.annotations to the one to use"
        )
    return folder, found[0]


def read(data, seed: int) -> Reading:
    """One item for each image of the JSON, in its order. Raises UserError if it is another kind of file."""
    folder, file = locate(data.root, data.annotations)
    content = load_json(file)
    records = content.get("images") if isinstance(content, dict) else None
    if not isinstance(records, list) or not records:
        raise UserError(
            f"{file} is not one of Karpathy's files: expected a JSON object with a list under `images`"
        )
    reading = Reading(Items(), f"{file.name} (restval joins train)")
    fields = [_fields(record, f"{file}, images[{number}]", reading) for number, record in enumerate(records)]
    images = _image_folder(folder, [name for name, _, _ in fields[:20]])
    ids = _ids(records, [name for name, _, _ in fields])
    items: dict[str, Item] = {}
    for name, captions, split in fields:
        path = inside(images, name)
        image_id = ids[name]
        if path is None:
            reading.dropped.append(Dropped(image_id, "path leads out of data.root"))
        elif image_id not in items:
            items[image_id] = Item(image_id, path, split, captions)
        else:  # a repeated image: add its captions, keep the stricter split
            item = items[image_id]
            reading.dropped += in_two_splits(image_id, (item.split, split))
            item.split = strictest((item.split, split))
            item.captions += [caption for caption in captions if caption not in item.captions]
    reading.items = Items(items.values())
    reading.notes = [f"{content.get('dataset', 'images')} by Karpathy's splits: {images} and {file}"]
    return reading


def _ids(records: list[dict], names: list[str]) -> dict[str, str]:
    """An id for each path: COCO's, or the file name without its ending. If ids clash, the whole path."""
    short: dict[str, str] = {}
    for record, name in zip(records, names, strict=True):
        known = record.get("cocoid")
        short[name] = short.get(name, Path(name).stem if known is None else str(known))
    uses = Counter(short.values())

    def clashes(name: str, key: str) -> bool:
        return uses[key] > 1 or (key != name and key in short)

    return {name: name if clashes(name, key) else key for name, key in short.items()}


def _fields(record, where: str, reading: Reading) -> tuple[str, list[str], str | None]:
    """An image's path in its folder, its captions and its split."""
    if not isinstance(record, dict) or not isinstance(record.get("filename"), str):
        raise UserError(f"{where}: no `filename`; is this one of Karpathy's files?")
    name = f"{record['filepath']}/{record['filename']}" if record.get("filepath") else record["filename"]
    captions = []
    sentences = record.get("sentences")
    for sentence in sentences if isinstance(sentences, list) else []:
        raw = sentence.get("raw") if isinstance(sentence, dict) else None
        if raw is None and isinstance(sentence, dict) and isinstance(sentence.get("tokens"), list):
            raw = " ".join(map(str, sentence["tokens"]))
        if isinstance(raw, str):
            captions.append(raw)
        else:
            reading.dropped.append(Dropped(name, "caption is not text", caption=str(raw)))
    return name, captions, split_name(str(record.get("split") or ""), where)


def _image_folder(root: Path, names: list[str]) -> Path:
    """The folder in `root` that holds most of the named images."""
    counts = [sum(os.path.isfile(root / folder / name) for name in names) for folder in IMAGE_FOLDERS]
    if not max(counts):
        raise UserError(
            f"none of the first {len(names)} images is in {root.absolute()}: looked for {names[0]} in it and "
            f"in {', '.join(IMAGE_FOLDERS[1:])}; set data.root to the folder of the images"
        )
    return root / IMAGE_FOLDERS[counts.index(max(counts))]
