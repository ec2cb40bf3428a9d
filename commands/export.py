"""Writes a captioner as one folder that works without the project it was trained in.

    python -m commands.export clipcap FOLDER [--half] [--push USER/NAME]

`load_captioner(FOLDER)` and `python -m app --model FOLDER` read it on any machine. `app/folder.py` lists its
contents.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from app import KINDS
from captioning.core import paths
from captioning.core.errors import command


@command
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m commands.export",
        description="Writes a captioner as one folder for `python -m app --model FOLDER` on any machine.",
    )
    add = parser.add_argument
    add("captioner",
        help=f"{' or '.join(KINDS)} of checkpoints/, a folder, or a file of ClipCap's authors")  # fmt: skip
    add("folder", type=Path, help="a new folder to write")
    add("--half", action="store_true", help="half-precision weights: half the space; captions may differ")
    add("--push", metavar="USER/NAME", help="upload it to the Hugging Face hub")
    add("--yes", action="store_true",
        help="upload captions of training images, which consensus needs, without asking")  # fmt: skip
    add("--clip", default="ViT-B/32",
        help="for a file of ClipCap's authors: the CLIP it was trained with; default: ViT-B/32")  # fmt: skip
    add("--gpt2", default="gpt2",
        help="for a file of ClipCap's authors: the GPT-2 it was trained with; default: gpt2")  # fmt: skip
    asked = parser.parse_args(arguments)
    from app import export  # after the arguments: it imports torch

    kind = asked.captioner
    source = paths.checkpoint(kind) if kind in KINDS else Path(kind).expanduser()
    if source.is_file():
        export.export_published(source, asked.folder, asked.clip, asked.gpt2, asked.half, asked.push or "")
    else:
        export.export(source, asked.folder, asked.half, asked.push or "")
    if asked.push:
        export.push(asked.folder, asked.push, asked.yes)


if __name__ == "__main__":
    main()
