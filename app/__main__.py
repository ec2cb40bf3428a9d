"""Captions pictures with the captioners that the pipeline has trained, a line a caption:

    python -m app photo.jpg another.png
    python -m app --captioner lstm --captions 5 photo.jpg

The encoder is the one in checkpoints/ whose features the captioner learned from; how captions are searched and drawn
is params.yaml's `generate`. Captioners of imported features have no encoder here, and say so.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from captioning import settings as schema
from captioning.beams import beam_search, rules_of
from captioning.captioners import load
from captioning.checkpoints import Decoder, feature_identity
from captioning.device import seed_everything
from captioning.diverse import several
from captioning.encoders import Encoder, load_clip, load_vgg16
from captioning.encoding import encode
from captioning.errors import UserError, command
from captioning.images import ImageFault, ImageFiles, open_rgb

CHECKPOINTS = Path("checkpoints")


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m app", description="Captions pictures, a line a caption.")
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--captioner", choices=("clipcap", "lstm"), default="clipcap")
    parser.add_argument("--captions", type=int, default=1, help="of each picture; several differ: generate.diverse")
    asked, settings = parser.parse_args(), schema.load()
    if asked.captions < 1:
        parser.error("--captions must be 1 or more")
    pictures = [path for path in asked.pictures if readable(path)]
    decoder = load(CHECKPOINTS / asked.captioner)
    encoder, options = encoder_of(decoder, settings)
    decoder.model.to(encoder.device)
    seed_everything(settings.seed)
    files, waiting = ImageFiles(pictures, encoder.preprocess), iter(pictures)
    for rows, _ in encode(encoder, files, options.batch_size, options.workers):
        features = torch.from_numpy(rows).half().float().to(encoder.device)  # (B, ...), as a feature store holds them
        for found in captions(decoder, features, settings.generate, asked.captions):
            path = next(waiting)
            for caption in found:
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


def encoder_of(decoder: Decoder, settings: schema.Settings) -> tuple[Encoder, schema.Extract]:
    """The encoder in checkpoints/ whose features a captioner learned from, and its settings. Raises UserError."""
    learned = decoder.features
    if (source := learned.get("encoder", "")).startswith("imported from"):
        raise UserError(f"{CHECKPOINTS / decoder.kind} learned from features {source}: no encoder here makes them")
    if decoder.kind == "clipcap":
        options = settings.extract_clip
        encoder = load_clip(CHECKPOINTS / "clip", learned.get("normalization") == "l2", options.precision)
    else:
        options = settings.extract_vgg16
        encoder = load_vgg16(CHECKPOINTS / "vgg16", learned.get("layer", "fc7"), options.precision)
    made = feature_identity(encoder.attributes)
    for key in sorted({*learned, *made}):
        if learned.get(key) != made.get(key):
            raise UserError(
                f"{CHECKPOINTS / decoder.kind} learned from features whose {key} is {learned.get(key)!r}; the encoder "
                f"in {CHECKPOINTS}/ gives {made.get(key)!r}. `dvc repro` makes them fit"
            )
    return encoder, options


def captions(decoder: Decoder, features: Tensor, options: schema.Generate, count: int) -> list[list[str]]:
    """Of each image (B, ...) the best caption by beam search, or `count` that differ."""
    if count == 1:
        found = [best[:1] for best in beam_search(decoder.model, features, **rules_of(options, decoder.text))]
    else:
        options = options.model_copy(update={"diverse": options.diverse.model_copy(update={"captions": count})})
        found = several(decoder.model, features, options, decoder.text, None)
    return [[decoder.text.decode(one.tokens) for one in of_image] for of_image in found]


if __name__ == "__main__":
    main()
