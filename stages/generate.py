"""Stage generate: captions test (or dev) images with a trained decoder (`generate@lstm`, `generate@clipcap`).

Reads   data/, features/vgg16.h5 or features/clip.h5, checkpoints/lstm/ or checkpoints/clipcap/, and
        the folders of `generate.ensemble`.
Writes  in captions/, where NAME is lstm or clipcap:
        NAME.json: COCO results, one caption per image by beam search, chosen by the consensus of training
          captions if `generate.consensus` is on
        NAME_diverse.json: several different captions per image
        NAME_details.json, for the report: each token's probability, the attending LSTM's maps, the words
          nearest to ClipCap's prefix
        NAME_weights.json: the weights' hashes
Expect  ten seconds for 1,000 images on 2 cores with the small networks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import torch
from torch import nn

from captioning.core import settings as schema
from captioning.core.device import pick_device
from captioning.core.files import write_json, write_lines
from captioning.core.paths import ENCODER_OF, checkpoint
from captioning.core.paths import captions as captions_of
from captioning.core.paths import features as features_of
from captioning.core.progress import track
from captioning.data.dataset import Data, load_data
from captioning.decoders.checkpoint import Decoder
from captioning.decoders.ensemble import weights_of, with_others
from captioning.decoders.kinds import load
from captioning.features.store import FeatureStore
from captioning.search.consensus import best_captions, consensus_of
from captioning.search.diverse import several
from captioning.search.explain import details
from stages import stage


@stage
def main() -> None:
    parser = argparse.ArgumentParser(description="Captions the test (or dev) images with a trained decoder.")
    parser.add_argument("decoder", choices=ENCODER_OF)
    name, settings, data = parser.parse_args().decoder, schema.load(), load_data()
    decoder, folders = load(checkpoint(name)), [checkpoint(name), *getattr(settings.generate.ensemble, name)]
    store = FeatureStore.open(features_of(ENCODER_OF[name]), expect=decoder.features)
    model, weights = with_others(decoder, folders[1:]), weights_of(folders)
    if len(folders) > 1:
        print(f"{len(weights)} decoders, their probabilities averaged:")
        for where, sha in weights.items():
            print(f"  {where}: {sha}")

    start = time.monotonic()
    images = captioned(name, decoder, model, store, data, settings)
    captions, sets, entries = (list(column) for column in zip(*images, strict=True))
    write_json(captions_of(name), captions)
    write_lines(captions_of(name, "diverse"), sets if settings.generate.diverse.captions else [])
    write_lines(captions_of(name, "details"), entries)
    write_json(captions_of(name, "weights"), weights)

    distinct, rate = len({one["caption"] for one in captions}), len(captions) / (time.monotonic() - start)
    counts = f"{len(captions)} captions, {distinct} distinct"
    print(f"wrote {captions_of(name)}: {counts}, {rate:.0f} images a second")


def captioned(
    name: str, decoder: Decoder, model: nn.Module, store: FeatureStore, data: Data, settings: schema.Settings
) -> Iterator[tuple[dict, dict, dict]]:
    """For each image of the split: its caption, its several captions, and the details for the report.

    Args:
        model: the decoder's own network, or an ensemble that includes it.
    """
    options, text, device = settings.generate, decoder.text, pick_device()
    model = model.to(device)
    generator = torch.Generator(device).manual_seed(settings.seed)
    consensus = consensus_of(options, store, data, text)
    ids = data.split(settings.evaluate.split)
    for i in track(range(0, len(ids), options.batch_size), f"captions by {name}", unit="batch"):
        part = ids[i : i + options.batch_size]
        features = torch.from_numpy(store.load(part)).to(device, torch.float32)
        best = best_captions(model, features, options, text, consensus)
        entries = details(decoder, part, features, best)
        differing = several(model, features, options, text, generator)
        for image, found, varied, entry in zip(part, best, differing, entries, strict=True):
            caption = {"image_id": image, "caption": text.decode(found.tokens)}
            yield caption, {"image_id": image, "captions": [text.decode(one.tokens) for one in varied]}, entry


if __name__ == "__main__":
    main()
