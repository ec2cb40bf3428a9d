"""Stage extract_clip: runs every image through CLIP's image tower once.

Reads   data/images.csv and the images, checkpoints/clip/. With `clip.features` it reads that file and no
        network.
Writes  features/clip.h5 (see captioning/features/store.py): one embedding per image, or with
        `clip.layer: patches` a vector for each of P patches, (P, W); of length 1 with `normalize`.
Takes   27 s for Flickr8k's 8,091 photographs and the small ResNet at 96 pixels, on 2 cores with bf16
        arithmetic, in under 1 GB of memory. A killed run resumes. A second run computes only new and changed
        images (in whole batches of the network, so that rounding is equal).
"""

from __future__ import annotations

from captioning.core import settings as schema
from captioning.core.paths import checkpoint, features
from captioning.data.dataset import load_data
from captioning.features.encoders import load_encoder
from captioning.features.importing import extract_or_import
from stages import stage


@stage
def main() -> None:
    settings = schema.load()
    options = settings.extract_clip
    made = {"normalization": "l2"} if options.normalize else {}
    if settings.clip.layer == "patches":
        made["layer"] = "patches"
    extract_or_import(
        features("clip"),
        load_data().images,
        settings.clip.features,
        lambda: load_encoder(checkpoint("clip"), made, options.precision),
        options.batch_size,
        settings.machine,
        normalize=options.normalize,
    )


if __name__ == "__main__":
    main()
