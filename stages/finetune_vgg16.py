"""Stage finetune_vgg16: adapts VGG16 to captioning by predicting the content words of the training captions.

Reads   data/ (training and dev images, captions), the weights that `vgg16.weights` names.
Writes  checkpoints/vgg16/ (config.json, model.safetensors), live/finetune_vgg16/ (curves).
Expect  on `scenes`, from scratch, one minute on 2 cores with bf16 units, more without, and a mean average
        precision on dev that rises from chance to above 0.6. 0 epochs pass the weights through unchanged, as
        does a `vgg16.features` file.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from captioning.core import settings as schema
from captioning.core.device import pick_device, seed_everything
from captioning.core.errors import UserError
from captioning.core.files import fingerprint, sha256_of
from captioning.core.paths import CAPTIONS, IMAGES, checkpoint, curves
from captioning.data.content_words import content_words
from captioning.data.dataset import Data, load_data
from captioning.data.enough import settle
from captioning.features.encoders import save_vgg16
from captioning.features.initial import initial_vgg16
from captioning.training.card import write_card
from captioning.training.distributed import on_first, part, share
from captioning.training.finetune import (
    augmented,
    average_precision,
    in_order,
    label_matrix,
    mirrorable,
    pixels_of,
    steps,
    two_or_more,
)
from captioning.training.loop import Job, fit
from captioning.training.processes import in_processes
from stages import stage


@stage
@in_processes
def main() -> None:
    settings, data = schema.load(), load_data()
    settings, choice = settle(settings, "vgg16", len(data.split("train")))
    if choice:
        print(f"finetune_vgg16.epochs: {choice['epochs']} ({choice['epochs_from']})", flush=True)
    options, folder = settings.finetune_vgg16, checkpoint("vgg16")
    seed_everything(settings.seed)
    network, preprocess = initial_vgg16(settings.vgg16)
    curves("finetune_vgg16").mkdir(parents=True, exist_ok=True)  # DVC expects it even if nothing trains

    def write(**extra: object) -> None:
        save_vgg16(folder, network.cpu(), preprocess, **extra, **choice)
        write_card(
            folder, "VGG16",
            "VGG16, for its features of images; trained here, its labels are captions' content words.",
            {"seed": settings.seed, "vgg16": settings.vgg16.model_dump(exclude={"layer"})}
            | {"finetune_vgg16": options.model_dump()},
            {"dev_map": extra.get("dev_map")}, ["vgg16"], task="image-feature-extraction",
        )  # fmt: skip
        print(f"wrote {folder}: {'trained' if extra else 'weights passed through unchanged'}")

    if options.epochs and not settings.vgg16.features:
        train(settings, data, network, preprocess, write)
    else:
        on_first(write)


def train(settings: schema.Settings, data: Data, network, preprocess, write: Callable[..., None]) -> None:
    """Trains `network` in place; `write` then gets the labels and the best mean average precision on dev."""
    options, device = settings.finetune_vgg16, pick_device()
    two_or_more(data, "finetune_vgg16")
    tokens = {split: list(data.by_image("tokens", split)) for split in ("train", "dev")}
    words = content_words((caption for captions in tokens["train"] for caption in captions), options.labels)
    labels = {split: label_matrix(tokens[split], words) for split in tokens}
    if not labels["dev"].any():
        raise UserError(
            f"finetune_vgg16: the dev captions contain none of the {len(words)} content words to predict, so "
            "no epoch can be scored; add dev images, raise finetune_vgg16.labels, or set "
            "finetune_vgg16.epochs to 0"
        )
    network.replace_head(len(words))
    network.to(memory_format=torch.channels_last)
    pixels = {split: pixels_of(data, split, preprocess, settings.machine.threads) for split in tokens}
    mirror = mirrorable(tokens["train"]) & options.mirror

    def batches(epoch: int):
        for images, index in augmented(pixels["train"], mirror, options.batch_size, settings.seed, epoch):
            yield images, labels["train"][share(index)]

    def loss(images: Tensor, wanted: Tensor) -> Tensor:
        logits = network(preprocess.normalize(images))
        wanted = wanted.to(device, non_blocking=True)
        return part(F.binary_cross_entropy_with_logits(logits.float(), wanted), wanted.numel())

    def evaluate() -> dict[str, float]:
        images = in_order(pixels["dev"], options.batch_size)
        logits = torch.cat([network(preprocess.normalize(batch)) for batch in images]).float().cpu()
        wanted = labels["dev"]
        return {
            "dev_loss": F.binary_cross_entropy_with_logits(logits, wanted).item(),
            "dev_map": average_precision(logits, wanted > 0).nanmean().item(),
        }

    made_of = settings.vgg16.model_dump(exclude={"layer"})
    job = Job(
        name="finetune_vgg16",
        model=network,
        loss=loss,
        batches=batches,
        steps=steps(len(labels["train"]), options.batch_size),
        evaluate=evaluate,
        monitor="dev_map",
        higher_is_better=True,
        inputs=fingerprint(made_of, words, sha256_of(IMAGES), sha256_of(CAPTIONS)),
    )

    def write_best(history: list[dict[str, float]]) -> None:
        write(labels=words, dev_map=max(scores["dev_map"] for scores in history))

    fit(job, options, settings.seed, write_best)


if __name__ == "__main__":
    main()
