"""The rows of `benchmarks.gpu` about captions and features."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from benchmarks import extraction, networks, published
from benchmarks.gpu_rows import Row, Scale, files, seconds_of
from benchmarks.gpu_steps import clipcap
from benchmarks.networks import NEVER
from benchmarks.table import ms
from captioning.features.jpeg import batches_on, decoding
from captioning.features.pixels import ImageFiles, pixel_batches
from captioning.search.base import Rules
from captioning.search.beam import beam_search


def captions(scale: Scale) -> Iterator[Row]:
    """Beam search in float32, as in stage generate, in batches of 256 images. The authors' runs on two."""
    images, tokens = (4, 4) if scale.tiny else (256, 20)
    model = clipcap(scale, "mlp", 10, False).eval()
    features = networks.features(images, networks.CLIP_SIZE).to(scale.device)
    rules = Rules(beam_size=5, max_tokens=tokens, eos_id=NEVER)
    seconds = seconds_of(lambda: beam_search(model, features, rules), 1 if scale.tiny else 3) / images
    gpt, prefix = networks.library_gpt2(model.gpt), model.prefix(features[:1]).detach()
    theirs = seconds_of(lambda: published.beam_search(gpt, prefix, 5, tokens, NEVER), 1 if scale.tiny else 3)
    yield Row(f"beam search, GPT-2, width 5, {tokens} tokens", f"{ms(seconds)} an image", "",
              f"{ms(theirs)} an image",
              {"seconds": seconds, "published": theirs})  # fmt: skip


def extract_vgg16(scale: Scale) -> Iterator[Row]:
    yield from _extract(scale, "vgg16")


def extract_clip(scale: Scale) -> Iterator[Row]:
    yield from _extract(scale, "clip")


def _extract(scale: Scale, kind: str) -> Iterator[Row]:
    with files(scale, 6 if scale.tiny else scale.images) as sizes:
        sizes |= {"kind": kind, "some": 1 if scale.tiny else 20}
        preprocess, images = extraction.preprocess_of(sizes), sizes["images"]
        listed, turns = ImageFiles(sizes["paths"], preprocess), 1 if scale.tiny else 2

        def decode_all() -> None:
            for _ in decoded(scale, listed, 256, sizes["workers"]):
                pass

        rates = {"decoding": images / seconds_of(decode_all, turns, before=1)}
        for name, setup in (("ours", extraction.ours), ("network", extraction.network)):
            run = setup(sizes)
            rates[name] = images / seconds_of(lambda run=run: run(0), turns, before=1)
        theirs = extraction.publishes(sizes)
        rates["published"] = sizes["some"] / seconds_of(lambda: theirs(0), 1)
    ours = (f"{rates['ours']:,.0f} images/s, {rates['ours'] / rates['decoding']:.0%} of decoding alone, "
            f"{rates['ours'] / rates['network']:.0%} of the bare network")  # fmt: skip
    title = f"extraction, {kind}, {images} JPEGs by {'nvJPEG' if decoding(scale.device) else 'threads'}"
    yield Row(title, ours, "5,000 images/s, 80% of decoding alone",
              f"{rates['published']:,.1f} images/s of 5 captions", rates)  # fmt: skip


def decoded(scale: Scale, listed: ImageFiles, batch_size: int, workers: int) -> Iterator[Tensor]:
    """Batches of pixels as the device gets them. Tiny runs use torchvision's decoder instead of engines."""
    if decoding(scale.device) or scale.tiny:
        return batches_on(scale.device, listed, batch_size, workers)
    return pixel_batches(listed, batch_size, workers)
