"""Stage generate: captions the test images with one of the trained decoders (`generate@lstm`, `generate@clipcap`).

Reads   data/ (the test split), features/vgg16.h5 or features/clip.h5, checkpoints/lstm/ or checkpoints/clipcap/.
Writes  captions/lstm.json or captions/clipcap.json as COCO results; captions/NAME_details.json for the report:
        each token's probability, the attending LSTM's maps, the words nearest to ClipCap's prefix.
Expect  a few seconds for 240 images on 2 cores with the small networks.
"""

from __future__ import annotations

import argparse
import time

import torch

from captioning import settings as schema
from captioning.captioners import load
from captioning.datasets import load_data
from captioning.decoding import beam_search
from captioning.details import details
from captioning.device import pick_device
from captioning.features import FeatureStore
from captioning.files import write_json, write_lines
from captioning.progress import track
from stages import folder_of, stage

FEATURES = {"lstm": "features/vgg16.h5", "clipcap": "features/clip.h5"}


@stage
def main() -> None:
    parser = argparse.ArgumentParser(description="Captions the test images with a trained decoder.")
    parser.add_argument("decoder", choices=FEATURES)
    name = parser.parse_args().decoder
    options, device = schema.load().generate, pick_device()
    decoder = load(folder_of(name))
    store = FeatureStore.open(FEATURES[name], expect=decoder.features)
    model, text = decoder.model.to(device), decoder.text
    ids, start = load_data().split("test"), time.monotonic()
    captions, entries = [], []
    for i in track(range(0, len(ids), options.batch_size), f"captions by {name}", unit="batch"):
        part = ids[i : i + options.batch_size]
        features = torch.from_numpy(store.load(part)).to(device, torch.float32)
        found = beam_search(
            model, features, beam_size=options.beam_size, max_tokens=options.max_tokens, eos_id=text.eos_id,
            length_penalty=options.length_penalty, banned_ids=text.banned_ids,
            no_repeat_ngram=options.no_repeat_ngram,
        )  # fmt: skip
        entries += details(decoder, part, features, [hypotheses[0] for hypotheses in found])
        said = [text.decode(hypotheses[0].tokens) for hypotheses in found]
        captions += [{"image_id": image, "caption": caption} for image, caption in zip(part, said, strict=True)]
    write_json(f"captions/{name}.json", captions)
    write_lines(f"captions/{name}_details.json", entries)
    distinct, rate = len({entry["caption"] for entry in captions}), len(captions) / (time.monotonic() - start)
    print(f"wrote captions/{name}.json: {len(captions)} captions, {distinct} of them distinct, {rate:.0f} a second")


if __name__ == "__main__":
    main()
