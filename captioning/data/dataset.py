"""The prepared data set, as stage `prepare` wrote it. Every later stage reads it with `load_data()`.

This module imports no source. So a change to a source re-runs `prepare`, but not the stages that read its
output.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from captioning.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "dev", "test")
IMAGE_COLUMNS = ("id", "path", "split", "sha256")
CAPTION_COLUMNS = ("image_id", "caption", "tokens")


class Data:
    """The two tables of `data/`.

    Attributes:
        images: one row an image, columns id, path, split (train, dev, test), sha256; all text.
        captions: one row a caption, columns image_id, caption (one line), tokens (PTB: lower case, no
            punctuation).
    """

    def __init__(self, images: pd.DataFrame, captions: pd.DataFrame) -> None:
        self.images = images
        self.captions = captions

    def split(self, name: str) -> list[str]:
        """Ids of the images in split `name`, in the table's order."""
        if name not in SPLITS:
            raise ValueError(f"split {name!r}: expected one of {', '.join(SPLITS)}")
        return self.images.loc[self.images["split"] == name, "id"].tolist()

    def references(self, split: str) -> dict[str, list[str]]:
        """{image id: captions}, in the order of `self.split(split)`."""
        return {image_id: self._by_image["caption"][image_id] for image_id in self.split(split)}

    def tokens(self, split: str) -> dict[str, list[str]]:
        """{image id: captions as PTB tokens separated by blanks}, in the order of `self.split(split)`."""
        return {image_id: self._by_image["tokens"][image_id] for image_id in self.split(split)}

    @cached_property
    def _by_image(self) -> dict[str, dict[str, list[str]]]:
        grouped = {
            column: {image_id: [] for image_id in self.images["id"]} for column in ("caption", "tokens")
        }
        table = self.captions
        for image_id, caption, tokens in zip(
            table["image_id"], table["caption"], table["tokens"], strict=True
        ):
            grouped["caption"][image_id].append(caption)
            grouped["tokens"][image_id].append(tokens)
        return grouped


def load_data(folder: str | Path = "data") -> Data:
    """Reads `images.csv` and `captions.csv` of a folder that stage `prepare` wrote."""
    images = _read(Path(folder) / "images.csv", IMAGE_COLUMNS)
    captions = _read(Path(folder) / "captions.csv", CAPTION_COLUMNS)
    if not images["id"].is_unique or not set(captions["image_id"]) <= set(images["id"]):
        raise UserError(
            f"{folder}/images.csv and {folder}/captions.csv do not fit together: run `dvc repro prepare`"
        )
    return Data(images, captions)


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd  # imported late: some modules need only SPLITS

    try:  # every cell is text: "NA" and "null" are captions, "007" is an id
        table = pd.read_csv(path, dtype=str, keep_default_na=False, na_filter=False, encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `dvc repro prepare` first") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} does not read as a table ({reason}): run `dvc repro prepare`") from None
    if tuple(table.columns) != columns:
        raise UserError(
            f"{path} has columns {', '.join(map(str, table.columns))}, expected {', '.join(columns)}: "
            "run `dvc repro prepare`"
        )
    return table
