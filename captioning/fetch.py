"""`make fetch`: gets what params.yaml names and the project does not contain, and lists what is there.

The first stage does the same by itself, before any other work; this is for looking, and for machines whose jobs have
no network. An air-gapped machine needs the files listed, at the places listed.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from captioning import pretrained
from captioning import settings as schema
from captioning.archives import extract
from captioning.datasets import flickr8k
from captioning.download import DownloadFault, download
from captioning.errors import UserError, command
from captioning.pretrained import HubFolder, Needed, OwnFile, WebFile

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
        """What is not there yet, by counts; None: nothing."""
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
        ours = []  # archives that the user copied there stay
        # The small archive first: whoever has no network, or too little space, learns it early.
        for name, target in (("Flickr8k_text.zip", "Flickr8k_text"), ("Flickr8k_Dataset.zip", "")):
            archive = self.folder / name
            ours += [] if archive.is_file() else [archive]
            try:
                extract(download(f"{self.url}/{name}", archive), self.folder / target)
            except DownloadFault as fault:
                raise UserError(
                    f"{self.setting}: {name} is not in {self.folder} and cannot be downloaded: {fault}; copy it "
                    "there, or set data.root to a folder that has Flicker8k_Dataset/ and Flickr8k_text/"
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


def needed(settings: schema.Settings) -> list[Needed]:
    """Everything outside the project that a run of these settings reads, in the order of the stages."""
    found: list[Needed | None] = []
    if settings.data.source == "flickr8k" and not settings.data.root:
        found.append(Flickr8k("data.source = flickr8k, data.root = null"))
    found += [pretrained.vgg16(settings.vgg16.weights), pretrained.clip(settings.clip.weights)]
    for key, path in (("vgg16.features", settings.vgg16.features), ("clip.features", settings.clip.features)):
        found.append(OwnFile(f"{key} = {path}", path) if path else None)
    found.append(pretrained.gpt2(settings.model.gpt2))
    found.append(pretrained.clipcap(settings.model.init_from))
    return [one for one in found if one]


def require(settings: schema.Settings) -> None:
    """Gets whatever is missing. UserError in one sentence when something cannot be had."""
    for one in needed(settings):
        if not one.find():
            one.get()
            print(f"fetched {one.setting}: {one.find()}", flush=True)


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="make fetch", description=__doc__.split("\n")[0])
    parser.add_argument("--list", action="store_true", help="look only, and fail when something is missing")
    only_look = parser.parse_args().list
    wanted = needed(schema.load())
    if not wanted:
        print("params.yaml names nothing that would have to be fetched")
    for one in wanted:
        print(f"{'there' if one.find() else 'missing':8}{one.setting}: {one.find() or ' or '.join(one.places())}")
        for source in sources(one) if not one.find() else []:
            print(f"{'':8}  from {source}")
    missing = [one for one in wanted if not one.find()]
    if missing and only_look:
        raise UserError(f"{len(missing)} of {len(wanted)} are missing")
    for one in missing:
        print(f"fetched {one.setting}: {one.get()}", flush=True)


def sources(one) -> list[str]:
    if isinstance(one, WebFile):
        return [one.url]
    if isinstance(one, HubFolder):
        return [f"https://huggingface.co/{one.repositories[0]}"]
    if isinstance(one, Flickr8k):
        return [f"{one.url}/Flickr8k_text.zip", f"{one.url}/Flickr8k_Dataset.zip"]
    return []


if __name__ == "__main__":
    main()
