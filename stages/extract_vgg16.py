"""Stage extract_vgg16: runs every image through VGG16 once.

Reads   data/images.csv and the images, checkpoints/vgg16/. With `vgg16.features` it reads that file and no
        network.
Writes  features/vgg16.h5 (see captioning/features/store.py): fc7 vectors, or conv5_3's grid.
Takes   30 s for Flickr8k's 8,091 photographs and a quarter-width VGG16 at 96 pixels, on 2 cores with bf16
        arithmetic, in under 1 GB of memory. A killed run resumes. A second run computes only new and changed
        images (in whole batches of the network, so that rounding is equal).
"""

from __future__ import annotations

from captioning.core import settings as schema
from captioning.core.paths import checkpoint, features
from captioning.data.dataset import load_data
from captioning.features.encoders import load_vgg16
from captioning.features.importing import extract_or_import
from stages import stage


@stage
def main() -> None:
    settings = schema.load()
    options = settings.extract_vgg16
    extract_or_import(
        features("vgg16"),
        load_data().images,
        settings.vgg16.features,
        lambda: load_vgg16(checkpoint("vgg16"), settings.vgg16.layer, options.precision),
        options.batch_size,
        settings.machine,
    )


if __name__ == "__main__":
    main()
