"""Stage finetune_clip: adapts CLIP to the data set by contrastive training on its images and captions.

Reads   data/ (training and dev images, captions), the weights that `clip.weights` names.
Writes  checkpoints/clip/ (config.json with the retrieval scores before and after, model.safetensors),
        live/finetune_clip/ (curves).
Expect  on `scenes`, from scratch, seven to nine minutes on 2 cores with bf16 units, 16 without, and a mean
        recall of 0.8 among the 1,000 dev images. 0 epochs pass the weights through unchanged, as does a
        `clip.features` file. An `hf:` or `open_clip:` tower takes 0 epochs only.

Each epoch draws some captions of each image (the setting `captions`). The mean of their embeddings is the
image's text, which says more than one caption. An image's other captions are never its negatives. Different
images with equal texts are not negatives of each other. Neither are equal files under different names.
Weights are fp32, whatever autocast computes in: fp16 weights turn NaN. For CLIPs of full size: `trains`,
`layer_decay`, `checkpointing`, `chunk_size`; see captioning/training/clip.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from captioning.core import settings as schema
from captioning.core.device import autocast, pick_device, pick_dtype, seed_everything
from captioning.core.files import fingerprint, sha256_of
from captioning.core.paths import CAPTIONS, IMAGES, checkpoint, curves
from captioning.data.dataset import Data, load_data
from captioning.data.enough import settle
from captioning.features.clip_text import tokenize, trim
from captioning.features.encoders import save_clip, save_hf, save_openclip
from captioning.features.initial import initial_clip, initial_hf, initial_openclip
from captioning.training.card import write_card
from captioning.training.clip import (
    check_chunks,
    embed,
    move_masks,
    parameter_groups,
    recompute_blocks,
    retrieval,
)
from captioning.training.distributed import on_first, part, share, whole
from captioning.training.finetune import augmented, in_order, mirrorable, pixels_of, steps, two_or_more
from captioning.training.loop import Job, fit
from captioning.training.processes import in_processes
from captioning.weights.sources import HF, OPEN_CLIP
from models.contrastive import contrastive_loss, mean_direction, same_pairs
from stages import stage


@stage
@in_processes
def main() -> None:
    settings, data = schema.load(), load_data()
    settings, choice = settle(settings, "clip", len(data.split("train")))
    if choice:
        print(f"finetune_clip.epochs: {choice['epochs']} ({choice['epochs_from']})", flush=True)
    options, folder = settings.finetune_clip, checkpoint("clip")
    seed_everything(settings.seed)
    curves("finetune_clip").mkdir(parents=True, exist_ok=True)  # DVC expects it even if nothing trains
    if settings.clip.weights.startswith((HF, OPEN_CLIP)):
        on_first(lambda: write_tower(settings))
        return
    model, preprocess = initial_clip(settings.clip)

    def write(**extra: object) -> None:
        save_clip(folder, model.cpu(), preprocess, **extra, **choice)
        write_card(
            folder, "CLIP", "CLIP (Radford et al. 2021): images and captions in one space.",
            {"seed": settings.seed, "clip": settings.clip.model_dump(exclude={"layer"})}
            | {"finetune_clip": options.model_dump()},
            extra.get("retrieval", {}).get("after", {}), ["clip"], task="zero-shot-image-classification",
        )  # fmt: skip
        print(f"wrote {folder}: {'trained' if extra else 'weights passed through unchanged'}")

    if options.epochs and not settings.clip.features:
        train(settings, data, model, preprocess, write)
    else:
        on_first(write)


def write_tower(settings: schema.Settings) -> None:
    """Passes a library's image tower through unchanged: without a text tower it cannot be fine-tuned."""
    folder, weights = checkpoint("clip"), settings.clip.weights
    if weights.startswith(HF):
        library = "transformers"
        save_hf(folder, *initial_hf(settings.clip))
    else:
        library = "open_clip"
        save_openclip(folder, *initial_openclip(settings.clip))
    write_card(
        folder, "Image encoder", f"The image tower of {weights.partition(':')[2]}, by {library}.",
        {"clip": {"weights": weights}}, {}, [library], task="image-feature-extraction",
    )  # fmt: skip
    print(f"wrote {folder}: weights passed through unchanged")


def train(settings: schema.Settings, data: Data, model, preprocess, write: Callable[..., None]) -> None:
    """Trains `model` in place; `write` then gets the retrieval scores on dev, before and after."""
    options, device = settings.finetune_clip, pick_device()
    captions = {split: list(data.by_image("caption", split)) for split in ("train", "dev")}
    two_or_more(data, "finetune_clip")
    tokens = {split: tokens_of(captions[split], model.context_length) for split in captions}  # N of (C, L)
    pixels = {split: pixels_of(data, split, preprocess, settings.machine.threads) for split in captions}
    pictures = {split: pictures_of(data, split) for split in captions}
    owner = torch.tensor(
        [image for image, of_image in enumerate(tokens["dev"]) for _ in of_image], device=device
    )
    mirror = mirrorable(data.by_image("tokens", "train")) & options.mirror
    check_chunks(model, options)
    groups = parameter_groups(model, options)
    if options.checkpointing:
        recompute_blocks(model)

    def batches(epoch: int):
        rng = np.random.default_rng([settings.seed, epoch, 1])
        # (N, K, L)
        chosen = torch.stack([draw(of_image, options.captions, rng) for of_image in tokens["train"]])
        for images, index in augmented(pixels["train"], mirror, options.batch_size, settings.seed, epoch):
            yield images, chosen[index], pictures["train"][index]

    def encode_pixels(images: Tensor) -> Tensor:
        return model.encode_image(preprocess.normalize(images))

    def loss(images: Tensor, texts: Tensor, shown: Tensor) -> Tensor:
        # (B, K, L) of the whole batch; `images` are this process's share
        texts = trim(texts).to(device, non_blocking=True)
        own = share(texts)
        image_embeddings = embed(encode_pixels, images, options.chunk_size)
        text_embeddings = embed(model.encode_text, own.flatten(0, 1), options.chunk_size)
        text_embeddings = mean_direction(text_embeddings.unflatten(0, own.shape[:2]))
        image_embeddings, text_embeddings = (
            whole(one, len(texts)) for one in (image_embeddings, text_embeddings)
        )
        same = same_pairs(shown.to(device, non_blocking=True), texts.flatten(1))
        # (B, D) each
        return part(contrastive_loss(image_embeddings, text_embeddings, model.logit_scale, same), 1)

    def evaluate() -> dict[str, float]:
        size = options.chunk_size or options.batch_size
        images = [encode_pixels(batch) for batch in in_order(pixels["dev"], size)]
        parts = torch.cat(tokens["dev"]).split(size)
        texts = [model.encode_text(trim(one).to(device)) for one in parts]
        return retrieval(torch.cat(images), torch.cat(texts), owner, pictures["dev"].to(device))

    dtype = pick_dtype(options.precision, device)
    model.to(device).eval()
    move_masks(model, device)
    with torch.no_grad(), autocast(device, dtype):  # as in training
        before = on_first(evaluate)
    print("before: " + "  ".join(f"{name} {value:.3f}" for name, value in before.items()))
    job = Job(
        name="finetune_clip",
        model=model,
        loss=loss,
        batches=batches,
        steps=steps(len(tokens["train"]), options.batch_size),
        evaluate=evaluate,
        monitor="mean_recall",
        higher_is_better=True,
        groups=groups,
        inputs=fingerprint(
            settings.clip.model_dump(exclude={"layer"}), sha256_of(IMAGES), sha256_of(CAPTIONS)
        ),
    )

    def write_best(history: list[dict[str, float]]) -> None:
        after = max(history, key=lambda scores: scores["mean_recall"])
        write(retrieval={"before": before, "after": {name: after[name] for name in before}})

    fit(job, options, settings.seed, write_best)


def pictures_of(data: Data, split: str) -> Tensor:
    """(N,) a number for each image of a split. Equal files under several names have equal numbers."""
    hashes = np.array(list(data.column("sha256", split)), object)
    return torch.from_numpy(pd.factorize(hashes)[0])


def draw(captions: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Draws `count` of an image's captions (C, L) as (count, L). They differ if there are enough."""
    if count == 1:
        return captions[None, rng.integers(len(captions))]
    return captions[np.resize(rng.permutation(len(captions)), count)]


def tokens_of(captions: list[list[str]], context_length: int) -> list[Tensor]:
    """The CLIP tokens (C, L) of each image's captions."""
    tokens = tokenize([caption for of_image in captions for caption in of_image], context_length)
    return list(tokens.split([len(of_image) for of_image in captions]))


if __name__ == "__main__":
    main()
