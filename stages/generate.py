"""Stage generate: captions the test (or dev) images with a trained decoder (`generate@lstm`, `generate@clipcap`).

Reads   data/, features/vgg16.h5 or features/clip.h5, checkpoints/lstm/ or checkpoints/clipcap/, and
        the folders of `generate.ensemble`.
Writes  in captions/, where NAME is lstm or clipcap: NAME.json as COCO results, one caption an image by beam search,
        and by the consensus of training captions where `generate.consensus` asks for it;
        NAME_diverse.json with several that differ; NAME_details.json for the report: each token's probability, the
        attending LSTM's maps, the words nearest to ClipCap's prefix; NAME_weights.json: the weights' hashes.
Expect  ten seconds for 1,000 images on 2 cores with the small networks.
"""

from __future__ import annotations

import argparse
import time

import torch

from captioning.core import settings as schema
from captioning.core.device import pick_device
from captioning.core.files import write_json, write_lines
from captioning.core.paths import ENCODER_OF, checkpoint
from captioning.core.paths import captions as captions_of
from captioning.core.paths import features as features_of
from captioning.core.progress import track
from captioning.data.dataset import load_data
from captioning.decoders.checkpoint import load
from captioning.decoders.ensemble import weights_of, with_others
from captioning.features.store import FeatureStore
from captioning.search.consensus import best_captions, consensus_of
from captioning.search.diverse import several
from captioning.search.explain import details
from stages import stage


@stage
def main() -> None:
    parser = argparse.ArgumentParser(description="Captions the test (or dev) images with a trained decoder.")
    parser.add_argument("decoder", choices=ENCODER_OF)
    name = parser.parse_args().decoder
    settings, device = schema.load(), pick_device()
    options, members = settings.generate, getattr(settings.generate.ensemble, name)
    decoder = load(checkpoint(name))
    store = FeatureStore.open(features_of(ENCODER_OF[name]), expect=decoder.features)
    model, text = with_others(decoder, members).to(device), decoder.text
    weights = weights_of([checkpoint(name), *members])
    if members:
        print("\n".join([f"{len(weights)} decoders as one:", *(f"  {where}: {sha}" for where, sha in weights.items())]))
    generator = torch.Generator(device).manual_seed(settings.seed)
    data = load_data()
    consensus = consensus_of(options, store, data, text)
    ids, start = data.split(settings.evaluate.split), time.monotonic()
    captions, sets, entries = [], [], []
    for i in track(range(0, len(ids), options.batch_size), f"captions by {name}", unit="batch"):
        part = ids[i : i + options.batch_size]
        features = torch.from_numpy(store.load(part)).to(device, torch.float32)
        best = best_captions(model, features, options, text, consensus)
        entries += details(decoder, part, features, best)
        differing = several(model, features, options, text, generator)
        for image, hypothesis, varied in zip(part, best, differing, strict=True):
            captions.append({"image_id": image, "caption": text.decode(hypothesis.tokens)})
            sets.append({"image_id": image, "captions": [text.decode(one.tokens) for one in varied]})
    write_json(captions_of(name), captions)
    write_lines(captions_of(name, "diverse"), sets if options.diverse.captions else [])
    write_lines(captions_of(name, "details"), entries)
    write_json(captions_of(name, "weights"), weights)
    distinct, rate = len({entry["caption"] for entry in captions}), len(captions) / (time.monotonic() - start)
    print(
        f"wrote {captions_of(name)}: {len(captions)} captions, {distinct} of them distinct, {rate:.0f} images a second"
    )


if __name__ == "__main__":
    main()
