"""Flickr8k's two public archives: finds, downloads and unpacks them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from captioning.core.errors import UserError
from captioning.data.sources import flickr8k
from captioning.weights.download import DownloadFault, download
from captioning.weights.sources import Needed
from captioning.weights.unzip import extract

FLICKR8K_URL = "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k"
FLICKR8K_COUNTS = {"images": 8091, "captions": 40460, "train": 6000, "dev": 1000, "test": 1000}


@dataclass(frozen=True)
class Flickr8k(Needed):
    """The data set's two public archives, unpacked."""

    folder: Path = Path(flickr8k.DEFAULT_ROOT)
    url: str = FLICKR8K_URL
    counts: tuple[tuple[str, int], ...] = tuple(FLICKR8K_COUNTS.items())

    def find(self) -> Path | None:
        try:
            official = flickr8k.locate(str(self.folder)).official
        except UserError:
            return None
        return None if official and self.missing() else self.folder

    def missing(self) -> str | None:
        """What is missing, as counts; None if nothing is."""
        for what, expected in self.counts:
            if what == "images":
                found = sum(1 for _ in self.folder.glob(f"{flickr8k.IMAGE_FOLDERS[0]}/*.jpg"))
            else:
                name = flickr8k.TOKEN_FILE if what == "captions" else flickr8k.SPLIT_FILES[what]
                found = _lines(self.folder / "Flickr8k_text" / name)
            if found != expected:
                return f"{found} of {expected} {what}"
        return None

    def get(self) -> Path:
        if found := self.find():
            return found
        ours = []  # keeps archives that the user copied there
        # The small archive comes first: a missing network or too little space shows early.
        for name, target in (("Flickr8k_text.zip", "Flickr8k_text"), ("Flickr8k_Dataset.zip", "")):
            archive = self.folder / name
            ours += [] if archive.is_file() else [archive]
            try:
                extract(download(f"{self.url}/{name}", archive), self.folder / target)
            except DownloadFault as fault:
                raise UserError(
                    f"{self.setting}: {name} is not in {self.folder} and cannot be downloaded: {fault}; copy "
                    "it there, or set data.root to a folder that has Flicker8k_Dataset/ and Flickr8k_text/"
                ) from None
        if fault := self.missing():
            raise UserError(f"{self.folder} has {fault} after unpacking: remove it and run `make fetch`")
        for archive in ours:
            archive.unlink()
        return self.folder

    def places(self) -> list[str]:
        return [str(self.folder)]


def _lines(path: Path) -> int:
    try:
        return sum(1 for line in path.read_bytes().splitlines() if line.strip())
    except OSError:
        return 0
