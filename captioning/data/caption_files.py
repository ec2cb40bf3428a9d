"""Reads other people's caption files: references and candidates.

Errors name the file, the entry and what was expected.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from captioning.core.errors import UserError
from captioning.core.files import read_json


def read_references(path: str | Path) -> dict[str, list[str]]:
    """Reads `{"id": ["caption", ...]}` or a COCO captions file as {id: captions}, ids as text.

    The order is the file's. In a COCO file it is that of `images`, as in pycocotools; images without
    annotations are left out.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(
            f"{path}: expected {{id: [captions]}} or a COCO captions file with `annotations`, "
            f"not {_kind(value)}"
        )
    result = _coco(path, value) if isinstance(value.get("annotations"), list) else _plain(path, value)
    if not result:
        raise UserError(f"{path}: no image has a caption")
    return result


def read_candidates(path: str | Path) -> dict[str, str]:
    """Reads COCO results, `[{"image_id": id, "caption": text}, ...]`, as {id: caption}.

    Ids are text, in the file's order.
    """
    value = read_json(path)
    if not isinstance(value, list):
        raise UserError(f'{path}: expected a list of {{"image_id": id, "caption": text}}, not {_kind(value)}')
    result: dict[str, str] = {}
    for number, entry in enumerate(value):
        image_id, caption = _caption(path, f"entry {number}", entry)
        if image_id in result:
            raise UserError(
                f"{path}: entry {number} is a second caption for image {image_id!r}; expected one per image"
            )
        result[image_id] = caption
    if not result:
        raise UserError(f"{path}: the list is empty, so there is nothing to score")
    return result


def _coco(path: str | Path, value: dict) -> dict[str, list[str]]:
    images = value.get("images", [])
    if not isinstance(images, list):
        raise UserError(f'{path}: `images` must be a list of {{"id": ...}}, not {_kind(images)}')
    grouped: dict[str, list[str]] = {}
    for number, image in enumerate(images):
        if not isinstance(image, dict):
            raise UserError(f'{path}: images, entry {number}: expected {{"id": ...}}, not {_kind(image)}')
        grouped[_id(path, f"images, entry {number}", image, "id")] = []
    for number, entry in enumerate(value["annotations"]):
        image_id, caption = _caption(path, f"annotations, entry {number}", entry)
        if images and image_id not in grouped:
            raise UserError(
                f"{path}: annotations, entry {number}: image {image_id!r} is not among the file's `images`"
            )
        grouped.setdefault(image_id, []).append(caption)
    return {image_id: captions for image_id, captions in grouped.items() if captions}


def _plain(path: str | Path, value: dict) -> dict[str, list[str]]:
    for image_id, captions in value.items():
        texts = isinstance(captions, list) and all(isinstance(text, str) for text in captions)
        if not texts or not captions:
            raise UserError(
                f"{path}: entry {image_id!r}: expected a list of one or more captions, got {_show(captions)}"
            )
    return value


def _caption(path: str | Path, where: str, entry: Any) -> tuple[str, str]:
    if not isinstance(entry, dict):
        raise UserError(f'{path}: {where}: expected {{"image_id": id, "caption": text}}, got {_show(entry)}')
    image_id = _id(path, where, entry, "image_id")
    if not isinstance(entry.get("caption"), str):
        got = _show(entry["caption"]) if "caption" in entry else "none"
        raise UserError(f"{path}: {where} (image {image_id}): expected a text as `caption`, got {got}")
    return image_id, entry["caption"]


def _id(path: str | Path, where: str, entry: dict, key: str) -> str:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, str)) or value == "":
        got = _show(value) if key in entry else "none"
        raise UserError(f"{path}: {where}: expected a number or a text as `{key}`, got {got}")
    return str(value)


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
