"""Small data sets in common layouts: real JPEG files of different colours, and settings to read them."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from captioning.core import settings

ROOT = Path(__file__).parents[1]
DATA = settings.read_yaml(ROOT / "params.yaml")["data"]
REAL_FLICKR8K = ROOT.parent / "shared" / "flickr8k"


def data_settings(source: str, root: Path | str | None, **changes) -> settings.DataSettings:
    """The `data` section of params.yaml with another source."""
    root = None if root is None else str(root)
    return settings.DataSettings.model_validate(
        DATA | {"source": source, "root": root, "annotations": None} | changes
    )


def photo(path: Path, number: int) -> Path:
    """A photograph, different for each number below 512."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = (number % 8 * 32, number // 8 % 8 * 32, number // 64 * 32)
    Image.new("RGB", (24, 16), colour).save(path, "JPEG")
    return path


def official(
    root: Path, captions: dict[str, list[str]], splits: dict[str, list[str]], end: str = "\n"
) -> None:
    """Writes Flickr8k's official layout, with photographs for all names except the one that never had one."""
    texts = root / "Flickr8k_text"
    texts.mkdir(parents=True)
    lines = [f"{name}#{i}\t{caption}" for name, given in captions.items() for i, caption in enumerate(given)]
    write(texts / "Flickr8k.token.txt", lines, end)
    for split, names in splits.items():
        write(texts / f"Flickr_8k.{split}Images.txt", names, end)
    photos(root / "Flicker8k_Dataset", captions)


def photos(folder: Path, names) -> None:
    for number, name in enumerate(names):
        if name.endswith(".jpg"):
            photo(folder / name, number)


def write(path: Path, lines: list[str], end: str = "\n", mark: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((mark + "".join(line + end for line in lines)).encode())
    return path


def write_json(path: Path, value) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path
