"""Reads tables of captions: CSV (comma, semicolon or tab), JSON Lines and JSON."""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from pathlib import Path

from captioning.core.errors import UserError
from captioning.core.pictures import SUFFIXES
from captioning.data.sources.base import Dropped, read_text, unix_line_ends

# As in Hugging Face's metadata.csv.
OTHER_COLUMNS = {"file_name": "image", "filename": "image", "text": "caption"}
SWALLOWED_ROW = re.compile(
    rf"\n[^\n]{{1,200}}?(?:{'|'.join(map(re.escape, SUFFIXES))})(?:[,;\t\"\n]|$)", re.IGNORECASE
)
csv.field_size_limit(2**31 - 1)  # reads captions of any length; cleaning decides later


def read_csv(path: Path, required: tuple[str, ...]) -> tuple[list[dict[str, str]], list[Dropped]]:
    """The rows as dicts by column name, and the rows that do not fit the header.

    If captions are the last column, unquoted commas belong to the caption. Raises UserError if the header is
    missing, or if a quote is never closed (it would swallow the rows after it).
    """
    text = unix_line_ends(read_text(path))
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = _columns(next(reader, []), required, path)
    rows, dropped = [], []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            for cell in cells:
                if "\n" in cell and SWALLOWED_ROW.search(cell):
                    raise UserError(
                        f"{path}: a quote before line {reader.line_num} is opened and not closed, "
                        f"near {cell[:60]!r}; close it, double it inside a caption, "
                        "or write the cell in one line"
                    )
            if len(cells) > len(columns) and columns[-1] == "caption":
                cells[len(columns) - 1 :] = [delimiter.join(cells[len(columns) - 1 :])]
            if len(cells) != len(columns):
                reason = f"row does not have {len(columns)} columns (quote captions with commas)"
                dropped.append(Dropped(f"line {reader.line_num}", reason, caption=delimiter.join(cells)))
            else:
                rows.append(dict(zip(columns, cells, strict=True)))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from None
    return rows, dropped


def _columns(header: list[str], required: tuple[str, ...], path: Path) -> list[str]:
    names = [name.strip().lower() for name in header]
    if not set(required) <= set(names):
        names = [OTHER_COLUMNS.get(name, name) for name in names]
    for name in required:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f" (rename {near[0]!r}?)" if near else ""
            found = ", ".join(repr(name[:40]) for name in header[:8]) or "nothing (the file is empty)"
            raise UserError(
                f"{path}: the first line must name {' and '.join(required)}; it names {found}{hint}"
            )
    if len(set(names)) < len(names):
        raise UserError(f"{path}: a column is named twice in {', '.join(names)}")
    return names


def read_json_rows(path: Path) -> tuple[list[dict[str, str]], list[Dropped]]:
    """Reads JSON Lines (one object per line) or a JSON list of objects.

    Each has `image`, `caption` (a text or a list) and `split`. Returns the rows, one per caption, and the
    entries that cannot be used. Raises UserError if a JSON list cannot be read.
    """
    text = read_text(path)
    dropped: list[Dropped] = []
    if text.lstrip().startswith("["):
        records = list(enumerate(load_json(path, text), 1))
    else:
        records = []
        for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
            if line.strip():
                try:
                    records.append((number, json.loads(line)))
                except (ValueError, RecursionError):
                    dropped.append(Dropped(f"line {number}", "line is not JSON", caption=line))
    rows = []
    for number, record in records:
        fields = _fields(record)
        image, split, captions = fields.get("image"), fields.get("split"), fields.get("caption")
        if not isinstance(image, str) or not isinstance(split or "", str):
            dropped.append(
                Dropped(f"line {number}", "record without an image's name", caption=json.dumps(record))
            )
            continue
        for caption in captions if isinstance(captions, list) else [captions]:
            if isinstance(caption, str):
                rows.append({"image": image, "caption": caption, "split": split or ""})
            else:
                dropped.append(Dropped(image, "caption is not text", caption=json.dumps(caption)))
    return rows, dropped


def _fields(record) -> dict:
    """The record with its usual field names. A field that already has such a name wins over a renamed one."""
    if not isinstance(record, dict):
        return {}
    fields = {name.strip().lower(): value for name, value in record.items()}
    return {OTHER_COLUMNS.get(name, name): value for name, value in fields.items()} | fields


def load_json(path: Path, text: str | None = None):
    """The value of a JSON file, or of `text` from it. Raises UserError with the line of the first fault."""
    try:
        return json.loads(read_text(path) if text is None else text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}: not JSON ({error.msg}); is the file complete?"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}); mend or replace it") from None
