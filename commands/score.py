"""Scores any captions with BLEU-1..4, METEOR, ROUGE-L and CIDEr, on coco-caption's scales.

python -m commands.score REFERENCES.json CANDIDATES.json [--per-image OUT.csv]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from captioning.core.errors import UserError, command
from captioning.data.caption_files import read_candidates, read_references
from captioning.data.ptb import ptb_tokenize
from captioning.metrics.coco import Scores, doubts, score, write_per_image
from captioning.metrics.meteor import Meteor


def score_files(references: Path, candidates: Path, need_all: bool = False) -> tuple[Scores, dict[str, str]]:
    """Reads, tokenizes and scores two files. Returns the scores, and the scored captions by id.

    Images without a candidate are left out with a warning on standard error, as coco-caption's example does
    with `cocoRes.getImgIds()`. With `need_all` they raise UserError.
    """
    all_references, captions = read_references(references), read_candidates(candidates)
    unknown = [i for i in captions if i not in all_references]
    if unknown:
        raise UserError(
            f"{candidates}: {len(unknown)} of {len(captions)} image ids are not in {references}, "
            f"such as {unknown[0]!r}"
        )
    kept = {i: texts for i, texts in all_references.items() if i in captions}
    if len(kept) < len(all_references):
        gap = f"{len(all_references) - len(kept)} image(s) of {references} have no candidate in {candidates}"
        if need_all:
            raise UserError(gap)
        print(f"warning: {gap}; scoring the other {len(kept)}", file=sys.stderr)
    with Meteor() as meteor:
        tokens = iter(ptb_tokenize([text for texts in kept.values() for text in texts]))
        tokenized = {i: [next(tokens) for _ in texts] for i, texts in kept.items()}
        answers = dict(zip(kept, ptb_tokenize([captions[i] for i in kept]), strict=True))
        return score(tokenized, answers, meteor), {i: captions[i] for i in kept}


@command
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m commands.score",
        description="Scores captions of images with BLEU-1..4, METEOR, ROUGE-L and CIDEr, "
        "with the same numbers as coco-caption. "
        "It tokenizes both files itself: give plain text. Prints JSON.",
    )
    add = parser.add_argument
    add("references", type=Path,
        help='{"id": ["caption", ...], ...}, or a COCO captions file (images, annotations)')  # fmt: skip
    add("candidates", type=Path,
        help='COCO results: [{"image_id": "id", "caption": "text"}, ...], one per image')  # fmt: skip
    add("--per-image", type=Path, metavar="OUT.csv", help="also write the scores of each image")
    add("--all", action="store_true",
        help="fail, instead of warning, if an image of the references has no candidate")  # fmt: skip
    given = parser.parse_args(arguments)
    scores, captions = score_files(given.references, given.candidates, need_all=given.all)
    print(json.dumps({**scores.corpus, "images": len(scores.ids)}, indent=2), flush=True)
    for doubt in doubts(scores):
        print(f"warning: {doubt}", file=sys.stderr)
    if given.per_image:
        try:
            write_per_image(given.per_image, scores, captions)
        except OSError as error:
            raise UserError(
                f"--per-image {given.per_image} cannot be written: {error.strerror or error}"
            ) from None


if __name__ == "__main__":
    main()
