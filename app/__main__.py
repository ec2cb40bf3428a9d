"""Captions pictures with the captioners that the pipeline has trained, a line a caption, or in a browser:

    python -m app photo.jpg another.png
    python -m app --captioner lstm --captions 5 photo.jpg
    python -m app --web

The encoder is the one in checkpoints/ whose features the captioner learned from; how captions are searched and drawn
is params.yaml's `generate`. Captioners of imported features have no encoder here, and say so.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from app.captioner import KINDS, PictureCaptioner
from captioning.core import settings as schema
from captioning.core.errors import UserError, command
from captioning.core.pictures import ImageFault, open_rgb
from captioning.features.pixels import ImageFiles


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m app", description="Captions pictures, a line a caption.")
    parser.add_argument("pictures", nargs="*", type=Path)
    parser.add_argument("--captioner", choices=KINDS, default="clipcap")
    parser.add_argument("--captions", type=int, default=1, help="of each picture; several by generate.diverse")
    parser.add_argument("--web", action="store_true", help="a page for it, which this machine alone can open")
    parser.add_argument("--port", type=int, default=8000, help="of the page; 0 takes any that is free")
    asked, settings = parser.parse_args(), schema.load()
    if asked.captions < 1:
        parser.error("--captions must be 1 or more")
    if not 0 <= asked.port <= 65535:
        parser.error("--port must be from 0 to 65535")
    if asked.web == bool(asked.pictures):
        parser.error("name pictures, or --web")
    if asked.web:
        from app.web import serve  # here, so that captions need no server's packages

        return serve(settings, asked.port)
    pictures = [path for path in asked.pictures if readable(path)]
    captioner = PictureCaptioner(asked.captioner, settings)
    found = captioner(ImageFiles(pictures, captioner.encoder.preprocess), asked.captions)
    for path, captions in zip(pictures, found, strict=True):
        for caption in captions:
            print(f"{path}: {caption}", flush=True)
    if len(pictures) < len(asked.pictures):
        raise UserError(f"{len(asked.pictures) - len(pictures)} of {len(asked.pictures)} pictures cannot be read")


def readable(path: Path) -> bool:
    """Whether a file is a usable image; says on standard error what is wrong with it."""
    try:
        open_rgb(path)
    except ImageFault as fault:
        print(f"error: {fault}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    main()
