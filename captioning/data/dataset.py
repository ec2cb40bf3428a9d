"""The prepared data set, as stage `prepare` wrote it. Every later stage reads it with `load_data()`.

This module imports no source. So a change to a source re-runs `prepare`, but not the stages that read its
output. Tables are columns of texts that may be larger than memory: see `captioning.core.texts`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np

from captioning.core.errors import UserError
from captioning.core.paths import CAPTIONS, DATA, IMAGES
from captioning.core.texts import Chosen, Grouped, Index, Texts, blocks

SPLITS = ("train", "dev", "test")
IMAGE_COLUMNS = ("id", "path", "split", "sha256")
CAPTION_COLUMNS = ("image_id", "caption", "tokens")
csv.field_size_limit(2**31 - 1)  # stage prepare decides how long a caption may be
Table = Mapping[str, Sequence[str]]  # column -> texts


class Data:
    """The two tables of `data/`.

    Attributes:
        images: one text per image in each of the columns id, path, split (train, dev, test), sha256.
        captions: one text per caption in each of the columns image_id, caption (one line), tokens (PTB:
            lower case, no punctuation).
    """

    def __init__(self, images: Table, captions: Table) -> None:
        self.images, self.captions = images, captions
        number = {name: i for i, name in enumerate(SPLITS)}
        self._split = np.fromiter((number.get(name, -1) for name in images["split"]), np.int8)  # (N,)

    def split(self, name: str) -> list[str]:
        """Ids of the images in split `name`, in the table's order."""
        return list(self.column("id", name))

    def references(self, split: str) -> dict[str, list[str]]:
        """{image id: captions}, in the order of `self.split(split)`."""
        return dict(zip(self.split(split), self.by_image("caption", split), strict=True))

    def tokens(self, split: str) -> dict[str, list[str]]:
        """{image id: captions as PTB tokens separated by blanks}, in the order of `self.split(split)`."""
        return dict(zip(self.split(split), self.by_image("tokens", split), strict=True))

    def column(self, name: str, split: str) -> Sequence[str]:
        """A column of the split's images, in the table's order; read when it is needed."""
        return Chosen(self.images[name], self._places(split))

    def by_image(self, name: str, split: str) -> Sequence[list[str]]:
        """A column of the captions, by image, in the order of `self.split(split)`; read when it is needed."""
        order, ends = self._grouped
        texts = self.captions[name]
        return Chosen(Grouped(texts if order is None else Chosen(texts, order), ends), self._places(split))

    def _places(self, split: str) -> np.ndarray:
        if split not in SPLITS:
            raise ValueError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
        return np.flatnonzero(self._split == SPLITS.index(split))

    @cached_property
    def _grouped(self) -> tuple[np.ndarray | None, np.ndarray]:
        """The captions' order by image (C,), and where each image's captions begin (N + 1,).

        The order is None if it is the table's own.

        Raises ValueError if ids of images are not unique, or a caption's image is not in the table.
        """
        index, counts = Index(self.images["id"]), []

        def owners() -> Iterator[str]:
            for image_id, same in groupby(self.captions["image_id"]):
                counts.append(len(list(same)))
                yield image_id

        images = index.find(owners())  # the image of each run of captions
        if len(index.repeats()) or (images < 0).any():
            raise ValueError("images and captions do not fit together")
        totals, order = np.zeros(len(self._split) + 1, np.int64), None
        np.add.at(totals, images + 1, counts)
        if (np.diff(images) < 0).any():
            order = np.repeat(images, counts).argsort(kind="stable")
        return order, totals.cumsum()


def load_data(folder: str | Path = DATA) -> Data:
    """Reads `images.csv` and `captions.csv` of a folder that stage `prepare` wrote."""
    images = _read(Path(folder) / IMAGES.name, IMAGE_COLUMNS)
    data = Data(images, _read(Path(folder) / CAPTIONS.name, CAPTION_COLUMNS))
    try:
        data._grouped  # noqa: B018
    except ValueError:
        raise UserError(
            f"{folder}/images.csv and {folder}/captions.csv do not fit together: run `dvc repro prepare`"
        ) from None
    return data


def _read(path: Path, columns: tuple[str, ...]) -> dict[str, Texts]:
    """Every cell is text: "NA" and "null" are captions, "007" is an id."""
    table = {name: Texts() for name in columns}
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.reader(file, strict=True)
            if tuple(found := next(rows, [])) != columns:
                raise UserError(
                    f"{path} has columns {', '.join(found)}, expected {', '.join(columns)}: "
                    "run `dvc repro prepare`"
                )
            for block in blocks(filter(None, rows)):
                if wrong := [row for row in block if len(row) != len(columns)]:
                    raise ValueError(f"a row has {len(wrong[0])} cells")
                for texts, cells in zip(table.values(), zip(*block, strict=True), strict=True):
                    texts.extend(cells)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `dvc repro prepare` first") from None
    except (csv.Error, ValueError) as error:  # also raised for bytes that are not text
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read as a table ({reason}): run `dvc repro prepare`") from None
    return table
