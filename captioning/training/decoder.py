"""Training either decoder, the LSTM or ClipCap, on features and captions: by cross-entropy, then self-critically."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from captioning.core.device import pick_device
from captioning.core.files import fingerprint
from captioning.core.settings import TrainDecoder, Training
from captioning.data.dataset import Data
from captioning.decoders.checkpoint import Decoder, save_decoder
from captioning.features.store import FeatureStore
from captioning.search.base import greedy
from captioning.training.batches import CaptionBatches
from captioning.training.card import describe_captioner, write_card
from captioning.training.loop import Job, fit_in_phases
from captioning.training.self_critical import GreedyCider, SelfCritical

EVALUATED = 64  # dev images at once
SHOWN, SHOWN_TOKENS = 3, 24  # dev images whose captions are printed after every epoch, and how long they may be


def train_decoder(
    name: str,
    decoder: Decoder,
    store: FeatureStore,
    captions: dict[str, list[list[str]]],
    data: Data,
    options: TrainDecoder,
    seed: int,
    folder: Path,
    longest: int,
    max_tokens: int | None = None,
    origin: str = "",
    standardize: bool = False,
) -> None:
    """Trains a decoder on cached features and writes its checkpoint folder.

    Args:
        name: of the stage.
        captions: for "train" and "dev", for each image of the split its captions, as the decoder's text wants them.
        longest: most tokens of a caption that is scored while training, end-of-text counted: `generate.max_tokens`.
        max_tokens: longer captions are cut to this, end-of-text counted.
        origin: where the decoder's first weights come from; a state of training with another one is not resumed.
        standardize: the model's mean and standard deviation of a feature become those of the training images.
    """
    device, model, text = pick_device(), decoder.model, decoder.text
    batches = {
        split: CaptionBatches(
            store.load(data.split(split)), _encode(captions[split], decoder, max_tokens),
            batch_size, seed, device,
        )
        for split, batch_size in (("train", options.batch_size), ("dev", EVALUATED))
    }  # fmt: skip
    if standardize:
        model.standardize.fit(batches["train"].features)
    first = next(batches["dev"].in_order())[0][:SHOWN]
    references = [of_image[0] for of_image in captions["dev"][:SHOWN]]
    cider = GreedyCider(decoder, *(list(data.tokens(split).values()) for split in ("dev", "train")), longest)

    def loss(features: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return model.loss(features, tokens, options.label_smoothing).mean

    def evaluate() -> dict[str, float]:
        losses = [model.loss(*batch) for batch in batches["dev"].in_order()]
        loss = sum(one.total for one in losses) / sum(one.tokens for one in losses)
        return {"dev_loss": loss.item(), "dev_cider": cider.of(features for features, _ in batches["dev"].in_order())}

    def samples() -> list[str]:
        found = greedy(model, first, max_tokens=SHOWN_TOKENS, eos_id=text.eos_id, banned_ids=text.banned_ids)
        said = [text.decode(hypotheses[0].tokens) for hypotheses in found]
        lines = [f"{caption!r}  (a person: {reference!r})" for caption, reference in zip(said, references, strict=True)]
        if len(said) > 1 and len(set(said)) == 1:
            lines.append("the same caption for each: the image is not used yet")
        return lines

    schedule = Training(**options.model_dump(include=set(Training.model_fields)))
    shapes = {name: list(weight.shape) for name, weight in model.state_dict().items()}
    inputs = fingerprint(store.attrs, decoder.sizes, shapes, captions, text.tokenizer.to_str(), max_tokens, origin)
    cross_entropy = Job(
        name=name,
        model=model,
        loss=loss,
        batches=batches["train"].epoch,
        steps=len(batches["train"]),
        evaluate=evaluate,
        monitor=f"dev_{options.monitor}",
        higher_is_better=options.monitor == "cider",
        inputs=f"{inputs} {options.label_smoothing} {options.monitor} {options.ema} {longest}",
        samples=samples,
        ema=options.ema,
    )
    phases = [(cross_entropy, schedule)]
    if options.self_critical.epochs:
        phases.append(self_critical_phase(cross_entropy, schedule, options, decoder, data, batches["train"], longest))
    _, scores = fit_in_phases(phases, seed, folder)
    dev = {score: (scores or {}).get(score) for score in ("dev_loss", "dev_cider")}
    training = options.model_dump() | {"seed": seed}
    save_decoder(folder, decoder, training=training, **dev)
    write_card(
        folder, f"Image captioner: {decoder.kind}", describe_captioner(decoder.kind, decoder.features),
        {name: training, "sizes": decoder.sizes, "features": decoder.features}, dev,
        ["image-captioning", decoder.kind],
    )  # fmt: skip
    print(f"wrote {folder}: {sum(p.numel() for p in model.parameters()):,} weights, {text.size} tokens of vocabulary")


def self_critical_phase(
    before: Job,
    schedule: Training,
    options: TrainDecoder,
    decoder: Decoder,
    data: Data,
    images: CaptionBatches,
    longest: int,
) -> tuple[Job, Training]:
    """The phase that follows the cross-entropy's: the same model, judged on dev by CIDEr, and undone if it harms."""
    chosen = options.self_critical
    critic = SelfCritical(decoder, list(data.tokens("train").values()), chosen.samples, longest)

    def batches(epoch: int) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
        for index in images.order(epoch, chosen.batch_size):
            yield images.take(index)[0], index

    job = replace(
        before,
        name=f"{before.name}.self_critical",
        loss=critic.loss,
        curve="negative_reward",
        batches=batches,
        steps=images.steps(chosen.batch_size),
        monitor="dev_cider",
        higher_is_better=True,
        or_nothing=True,
        inputs=f"{chosen!r} {longest}",
    )
    return job, schedule.model_copy(update={"epochs": chosen.epochs, "batch_size": chosen.batch_size, "lr": chosen.lr})


def _encode(captions: list[list[str]], decoder: Decoder, max_tokens: int | None) -> list[list[list[int]]]:
    flat = iter(decoder.text.encode([caption for of_image in captions for caption in of_image], max_tokens))
    return [[next(flat) for _ in of_image] for of_image in captions]
