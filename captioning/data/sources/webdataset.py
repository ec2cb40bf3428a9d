"""Tar shards as img2dataset writes them (webdataset's layout): members with the same key form one sample.

    00000.tar                          train/00000.tar, val/00000.tar, ...: folder names give the splits
      000000012.jpg (.png, .webp, ...) the picture
      000000012.txt                    its caption
      000000012.json                   or here, as `caption` (a text or a list); other fields are ignored
    00000_stats.json                   how many pictures img2dataset could download; refused without its shard

A list of captions in the JSON replaces the text, in which img2dataset writes the list as Python prints it.
Shards are read once, from start to end, and their pictures are unpacked to data/shards/. Samples are sorted
by key, since img2dataset writes them as their downloads end. An id is the key, or SHARD/KEY if shards share
keys. Without split folders, a seeded hash of the ids gives the splits, as in `folder`. A truncated shard
gives its complete samples. Only one shard's keys and captions are in memory at a time.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from captioning.core.errors import UserError, counted
from captioning.core.paths import SHARDS, UNPACKED
from captioning.core.pictures import MAX_BYTES, SUFFIXES
from captioning.core.progress import track
from captioning.core.texts import Index, Texts
from captioning.data.dataset import SPLITS
from captioning.data.sources.base import (
    OTHER_NAMES,
    UNCAPTIONED,
    WRONG_PATH,
    Dropped,
    Item,
    Items,
    Reading,
    inside,
    split_name,
)
from captioning.data.sources.folder import draw_splits

END = 1024  # number of zero bytes at the end of a tar


def locate(root: str | None) -> tuple[Path, list[Path]]:
    """The folder at `data.root`, and the shards in it and below it."""
    if not root:
        raise UserError("data.source = webdataset needs data.root: the folder of the shards (00000.tar, ...)")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise UserError(f"data.root = {root} is not a folder (looked at {folder.absolute()}); {WRONG_PATH}")
    shards = sorted(folder.rglob("*.tar"))
    if not shards:
        raise UserError(
            f"no shards in data.root = {root}: looked for *.tar in {folder.absolute()} and below "
            "(img2dataset writes them with --output_format webdataset)"
        )
    known = {shard.with_name(f"{shard.stem}_stats.json") for shard in shards}
    if lost := sorted(set(folder.rglob("*_stats.json")) - known):
        raise UserError(
            f"{lost[0]} is there, but its shard is missing ({len(lost)} such): copy all shards, "
            "or remove these files to do without them"
        )
    return folder, shards


def read(data, seed: int) -> Reading:
    """One item for each sample with a picture, in the order of shards and keys.

    Unpacks the pictures to data/shards/. Raises UserError if there are no shards.
    """
    folder, shards = locate(data.root)
    SHARDS.parent.mkdir(exist_ok=True)
    UNPACKED.touch()  # first: a kill may come at any moment
    shutil.rmtree(SHARDS, ignore_errors=True)
    SHARDS.mkdir()
    reading, keys = Reading(Items(), "folders of the shards"), Texts()

    def items() -> Iterator[Item]:
        for shard in track(shards, "unpacking shards", len(shards), "shard"):
            named = shard.relative_to(folder)
            split = next((part for part in named.parts[:-1] if part.lower() in {*SPLITS, *OTHER_NAMES}), "")
            name = named.with_suffix("").as_posix()
            found = _read_shard(shard, name, split_name(split, str(named)), reading.dropped)
            keys.extend([item.id.removeprefix(f"{name}/") for item in found])
            yield from found

    reading.items = Items(items())
    if not len(Index(keys).repeats()):
        reading.items.ids = keys
    if not (reading.items.splits >= 0).any():
        reading.items.splits = draw_splits(reading.items.ids, seed, data.dev_share, data.test_share)
        reading.splits_from = f"a hash of the ids, seed {seed}"
    reading.notes = [
        f"{counted(len(reading.items), 'picture')} of {counted(len(shards), 'shard')} in {folder}; "
        f"splits by {reading.splits_from}",
        *_downloads(shards),
    ]
    return reading


def _downloads(shards: list[Path]) -> list[str]:
    """Says how many pictures img2dataset could not get: the shards do not hold those."""
    wanted = got = 0
    for path in (shard.with_name(f"{shard.stem}_stats.json") for shard in shards):
        with suppress(OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            counts = json.loads(path.read_bytes())
            wanted, got = wanted + int(counts["count"]), got + int(counts["successes"])
    return [f"img2dataset could not get {wanted - got} of {wanted} pictures"] if wanted > got else []


def _read_shard(shard: Path, name: str, split: str | None, dropped: list[Dropped]) -> list[Item]:
    samples: dict[str, Item] = {}
    texts: dict[str, str] = {}
    told: dict[str, str | list[str] | None] = {}  # captions from the JSON files
    for key, ending, content in _members(shard, name, dropped):
        sample = samples.setdefault(key, Item(f"{name}/{key}", Path(), split, []))
        if f".{ending}" in SUFFIXES and sample.path == Path():
            path = inside(SHARDS / name, f"{key}.{ending}")
            if path is None:
                dropped.append(Dropped(sample.id, "path leads out of its shard"))
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            sample.path = SHARDS / path.relative_to(os.path.abspath(SHARDS))
        elif f".{ending}" in SUFFIXES:
            dropped.append(Dropped(sample.id, "key occurs twice in a shard: the first is kept"))
        elif ending == "txt":
            texts.setdefault(key, content.decode("utf-8-sig", "replace"))
        elif ending == "json":
            told.setdefault(key, _caption(content, sample.id, dropped))
    items = []
    for key, sample in sorted(samples.items()):
        sample.captions = _captions(texts.get(key), told.get(key))
        if sample.path == Path():
            dropped.append(Dropped(sample.id, "no picture in the shard"))
        elif not sample.captions:
            dropped.append(Dropped(sample.id, UNCAPTIONED, fault=False))
        else:
            items.append(sample)
    return items


def _captions(text: str | None, told: str | list[str] | None) -> list[str]:
    if isinstance(told, list):
        return told
    chosen = told if told is not None and not (text and text.strip()) else text
    return [] if chosen is None else [chosen]


def _members(shard: Path, name: str, dropped: list[Dropped]) -> Iterator[tuple[str, str, bytes]]:
    """Yields (key, ending, content) of each file in a shard. Stops where a shard is damaged."""
    cut = Dropped(f"{name}.tar", "shard damaged or cut short: what comes before is used")
    try:
        with open(shard, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                if member.isfile() and member.size <= MAX_BYTES:
                    folder, _, last = member.name.rpartition("/")
                    stem, _, ending = last.partition(".")
                    key = f"{folder}/{stem}" if folder else stem
                    yield key, ending.lower(), archive.extractfile(member).read()
            file.seek(max(0, os.fstat(file.fileno()).st_size - END))
            if any(file.read()):  # tarfile treats a truncated header as the end
                dropped.append(cut)
    except (tarfile.TarError, OSError, ValueError):
        dropped.append(cut)


def _caption(content: bytes, image: str, dropped: list[Dropped]) -> str | list[str] | None:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        dropped.append(Dropped(image, "JSON of a sample cannot be read", fault=False))
        return None
    caption = found.get("caption") if isinstance(found, dict) else None
    if isinstance(caption, list):
        return [one for one in caption if isinstance(one, str)]
    return caption if isinstance(caption, str) else None
