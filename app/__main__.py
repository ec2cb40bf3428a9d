"""Captions pictures with the trained captioners: prints a line for each, writes a file, or serves a page.

params.yaml's `generate`, or an exported folder's own settings, say how captions are searched and drawn. Torch
is imported only once there are pictures to caption, so `--help` and errors appear at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from app import KINDS, load_captioner
from app.pictures import Pictures
from app.results import ENDINGS, Results
from captioning.core.errors import UserError, command
from captioning.core.paths import checkpoint
from captioning.core.progress import track

HERE = f"python -m {__package__}"
EXAMPLES = f"""examples:
  {HERE} photo.jpg another.png
  {HERE} --captioner both --captions 5 photo.jpg
  {HERE} holiday/ 'more/*.jpg' --out captions.jsonl   # run it again to continue it
  find . -name '*.jpg' | {HERE} - --out captions.csv
  {HERE} --model my-captioner/ photo.jpg              # a folder of commands.export
  {HERE} --web
"""
MOST_CAPTIONS = 100


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=HERE, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Captions pictures with the captioners in checkpoints/. Prints one line per caption.",
    )  # fmt: skip
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group().add_argument
    add("pictures", nargs="*", metavar="PICTURE",
        help="a file, a folder, a glob, or - for a list on standard input")  # fmt: skip
    which("--captioner", choices=[*KINDS, "both"], default="clipcap",
          help="a captioner in checkpoints/; default: clipcap")  # fmt: skip
    which("--model", metavar="FOLDER",
          help="an exported captioner instead, or USER/NAME of the Hugging Face hub")  # fmt: skip
    add("--captions", type=int, default=1, metavar="N", help="different captions per picture; default: 1")
    add("--out", metavar="FILE",
        help="a .jsonl or .csv to write, with probabilities; pictures already in it are skipped")  # fmt: skip
    add("--web", action="store_true",
        help="serve a web page instead, for browsers of this machine only; default: no")  # fmt: skip
    add("--port", type=int, default=8000, help="port of the page; 0 takes a free one; default: 8000")
    asked = parser.parse_args()
    if not 1 <= asked.captions <= MOST_CAPTIONS:
        parser.error(f"--captions must be from 1 to {MOST_CAPTIONS}")
    if not 0 <= asked.port <= 65535:
        parser.error("--port must be from 0 to 65535")
    if asked.web == bool(asked.pictures):
        parser.error("give pictures, or --web")
    if asked.web and (asked.out or asked.captions != 1):
        parser.error("--out and --captions cannot be used with --web: the page offers both")
    if asked.out and not asked.out.lower().endswith(ENDINGS):
        parser.error(f"--out must end in {' or '.join(ENDINGS)}")
    return asked


@command
def main() -> None:
    asked = parsed()
    try:
        if asked.web:
            from app.web import serve

            return serve(_models(asked), asked.port)
        caption_files(asked)
    except KeyboardInterrupt:
        how = f"; the same command continues from what is in {asked.out}" if asked.out else ""
        sys.exit(f"interrupted{how}")


def caption_files(asked: argparse.Namespace) -> None:
    """Prints or writes the captions of all readable pictures, and lists the others on standard error.

    Raises UserError if a picture named one by one cannot be read, or if there is no picture at all.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="surrogateescape")  # file names need not be UTF-8
    pictures = Pictures(asked.pictures, without=asked.out)
    for fault in pictures.faults:
        print(f"error: {fault}", file=sys.stderr)
    if not pictures.paths:
        raise UserError(f"no picture among {' '.join(asked.pictures)[:200]}")
    models = _models(asked)
    results = Results(asked.out, asked.captions) if asked.out else None
    done = results.done if results else set()
    left = {}
    for kind in models:
        left[kind] = [path for path in pictures.paths if (os.path.abspath(path), kind) not in done]
    skipped: dict[str, str] = {}
    if any(left.values()):
        _caption(asked, models, {kind: paths for kind, paths in left.items() if paths}, results, skipped)
    for path, fault in skipped.items():
        print(f"{'error' if path in pictures.named else 'skipped'}: {fault}", file=sys.stderr)
    if results:
        new = len(set().union(*left.values()) - skipped.keys())
        before = len(pictures.paths) - new - len(skipped)
        told = f"captions of {new} pictures written, {before} were there already, {len(skipped)} skipped"
        print(f"{asked.out}: {told}")
    if faults := len(pictures.faults) + len(pictures.named & set(skipped)):
        raise UserError(f"{faults} of {len(pictures.paths) + len(pictures.faults)} pictures cannot be read")
    if len(skipped) == len(pictures.paths):
        raise UserError("no picture among these files")


def _models(asked: argparse.Namespace) -> dict[str, str | Path]:
    """Each captioner's name in the results, and its folder."""
    if asked.model:
        return {asked.model: asked.model}
    kinds = KINDS if asked.captioner == "both" or asked.web else [asked.captioner]
    return {kind: checkpoint(kind) for kind in kinds}


def _caption(
    asked: argparse.Namespace,
    models: dict[str, str | Path],
    left: dict[str, list[str]],
    results: Results | None,
    skipped: dict[str, str],
) -> None:
    """Captions each model's pictures. Files that are not pictures go into `skipped`, with the reason."""
    from app.captioner import Readable
    from app.origin import doubts, learned_from

    captioners = {kind: load_captioner(models[kind]) for kind in left}  # all, before any captions
    folder = next(iter(captioners.values())).folder  # the others, if any, learned from the same data
    if learned := learned_from(folder):
        print(f"learned from {learned}", file=sys.stderr)
    for doubt in doubts(folder):
        print(f"warning: {doubt}", file=sys.stderr)
    for kind, captioner in captioners.items():
        paths = [path for path in left[kind] if path not in skipped]
        files = Readable(paths, captioner.encoder.preprocess)
        found = captioner.each(files, asked.captions)
        if results or (sys.stderr.isatty() and not sys.stdout.isatty()):  # no bar between captions
            found = track(found, f"captions by {KINDS.get(kind, kind)}", total=len(paths), unit="picture")
        for row, (path, captions) in enumerate(zip(paths, found, strict=True)):
            if row in files.faults:
                skipped[path] = files.faults[row]
            elif results:
                results.add({"file": path, "model": kind} | caption.row() for caption in captions)
            else:
                by = f" ({KINDS[kind]})" if asked.captioner == "both" else ""
                for caption in captions:
                    print(f"{path}{by}: {caption.caption}", flush=True)


if __name__ == "__main__":
    main()
