"""Trains a decoder, the LSTM or ClipCap, on features and captions: cross-entropy, then self-critical."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from captioning.core.device import pick_device
from captioning.core.files import fingerprint
from captioning.core.paths import checkpoint
from captioning.core.settings import SelfCriticalSettings, Settings, TrainingSettings
from captioning.data.dataset import Data
from captioning.decoders.checkpoint import Decoder, save_decoder
from captioning.features.store import FeatureStore
from captioning.search.base import Rules, greedy
from captioning.training.batches import CaptionBatches
from captioning.training.card import describe_captioner, write_card
from captioning.training.distributed import part, share
from captioning.training.loop import Job, fit_in_phases
from captioning.training.self_critical import GreedyCider, SelfCritical
from captioning.training.streams import StreamedBatches, fits_in_memory
from models.packing import AT_ONCE

EVALUATED = {"cpu": 64, "cuda": 256}  # dev images in a batch
SHOWN, SHOWN_TOKENS = 3, 24  # dev images whose captions are printed each epoch, and their longest length


@dataclass(frozen=True)
class DecoderData:
    """The training and dev data of a decoder.

    Attributes:
        data: the data set, with its splits and references.
        store: the features of its images.
        captions: for "train" and "dev", the captions of each image, in the form that the decoder's text
            needs; in a list, or read when they are needed (`Data.by_image`).
        max_tokens: the longest caption for training, end-of-text included; longer ones are cut. None: no
            limit.
    """

    data: Data
    store: FeatureStore
    captions: dict[str, Sequence[list[str]]]
    max_tokens: int | None = None

    def references(self, split: str) -> Sequence[list[str]]:
        """Returns each image's captions as PTB tokens, the form that the metrics compare."""
        return self.data.by_image("tokens", split)

    def hashes(self) -> dict[str, list[str]]:
        """Hashes of all captions, in parts."""
        return {split: [*map(fingerprint, _parts(captions))] for split, captions in self.captions.items()}

    def batches(self, split: str, decoder: Decoder, batch_size: int, seed: int) -> CaptionBatches:
        """Batches of the split's features and token ids, streamed from disk if they do not fit in memory."""
        ids, captions = self.data.column("id", split), self.captions[split]
        packing = getattr(decoder.model, "packing", None)
        if not packing or fits_in_memory(self.store, captions):
            encoded = _encode(captions, decoder, self.max_tokens)
            return CaptionBatches(self.store.load(ids), encoded, batch_size, seed, pick_device(), packing)
        encoded = (_encode(block, decoder, self.max_tokens) for block in _parts(captions))
        return StreamedBatches(
            self.store, self.store.rows(ids), encoded, batch_size, seed, pick_device(), packing
        )


def train_decoder(
    name: str,
    decoder: Decoder,
    learned: DecoderData,
    settings: Settings,
    origin: str = "",
    standardize: bool = False,
) -> None:
    """Trains a decoder on cached features and writes its checkpoint folder, `checkpoints/KIND`.

    Args:
        name: the stage's name, which its group of settings has, too.
        origin: the source of the decoder's first weights; a training state with another origin is not
            resumed.
        standardize: set the model's feature mean and standard deviation to those of the training images.
    """
    options, seed, model, text = getattr(settings, name), settings.seed, decoder.model, decoder.text
    longest = settings.generate.max_tokens  # length limit of a caption that is scored during training
    images = learned.batches("train", decoder, options.batch_size, seed)
    if standardize:
        model.standardize.fit(images.features)
    judge = Judge(decoder, learned, longest)

    def loss(features: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        found = model.loss(features, tokens, options.label_smoothing)
        return part(found.mean, found.tokens)

    shapes = {name: list(weight.shape) for name, weight in model.state_dict().items()}
    captions = (learned.hashes(), text.tokenizer.to_str(), learned.max_tokens)
    inputs = fingerprint(learned.store.attrs, decoder.sizes, shapes, *captions, origin)
    cross_entropy = Job(
        name=name,
        model=model,
        loss=loss,
        batches=images.epoch,
        steps=len(images),
        evaluate=judge.scores,
        monitor=f"dev_{options.monitor}",
        higher_is_better=options.monitor == "cider",
        inputs=f"{inputs} {options.label_smoothing} {options.monitor} {options.ema} {longest}",
        samples=judge.samples,
        ema=options.ema,
        recordable=hasattr(model, "packing"),
    )
    schedule = TrainingSettings(**options.model_dump(include=set(TrainingSettings.model_fields)))
    phases = [(cross_entropy, schedule)]
    if options.self_critical.epochs:
        critic = SelfCritical(decoder, learned.references("train"), options.self_critical.samples, longest)
        phases.append(
            self_critical_phase(cross_entropy, schedule, options.self_critical, critic, images, seed)
        )

    def write(_: list[dict[str, float]], scores: dict[str, float] | None) -> None:
        dev = {score: (scores or {}).get(score) for score in ("dev_loss", "dev_cider")}
        write_decoder(name, decoder, options.model_dump() | {"seed": seed}, dev)

    fit_in_phases(phases, seed, write)


class Judge:
    """Scores a decoder on dev: its loss, the CIDEr of its greedy captions, and a few captions to read."""

    def __init__(self, decoder: Decoder, learned: DecoderData, longest: int) -> None:
        self.model, self.text = decoder.model, decoder.text
        self.dev = learned.batches("dev", decoder, EVALUATED[pick_device().type], 0)
        self.cider = GreedyCider(decoder, learned.references("dev"), learned.references("train"), longest)
        self.shown = next(self.dev.in_order())[0][:SHOWN]
        self.said_by_people = [of_image[0] for of_image in learned.captions["dev"][:SHOWN]]

    def scores(self) -> dict[str, float]:
        """`dev_loss`, the cross-entropy in nats per token, and `dev_cider`, CIDEr-D of greedy captions."""
        losses = [self.model.loss(*batch) for batch in self.dev.in_order()]
        loss = sum(one.total for one in losses) / sum(one.tokens for one in losses)
        cider = self.cider.of(features for features, _ in self.dev.in_order())
        return {"dev_loss": loss.item(), "dev_cider": cider}

    def samples(self) -> list[str]:
        """Lines with greedy captions of a few dev images, each beside a reference."""
        rules = Rules(max_tokens=SHOWN_TOKENS, eos_id=self.text.eos_id, banned_ids=self.text.banned_ids)
        said = [self.text.decode(found[0].tokens) for found in greedy(self.model, self.shown, rules)]
        both = zip(said, self.said_by_people, strict=True)
        lines = [f"{caption!r}  (a person: {reference!r})" for caption, reference in both]
        if len(said) > 1 and len(set(said)) == 1:
            lines.append("the same caption for every image: the decoder does not use the image yet")
        return lines


def self_critical_phase(
    before: Job,
    schedule: TrainingSettings,
    options: SelfCriticalSettings,
    critic: SelfCritical,
    images: CaptionBatches,
    seed: int,
) -> tuple[Job, TrainingSettings]:
    """The second phase, after cross-entropy: self-critical training, judged on dev by CIDEr.

    The phase's starting weights are restored if no epoch beats them.
    """

    def batches(epoch: int) -> Iterator[tuple[torch.Tensor, np.ndarray, torch.Tensor]]:
        for index in map(share, images.order(epoch, options.batch_size)):
            yield images.take(index)[0], index, critic.chances(seed, epoch, index)

    job = replace(
        before,
        name=f"{before.name}.self_critical",
        loss=critic.loss,
        prepare=critic.prepare,
        curve="negative_reward",
        batches=batches,
        steps=images.steps(options.batch_size),
        monitor="dev_cider",
        higher_is_better=True,
        keep_start=True,
        inputs=f"{options!r} {critic.rules.max_tokens}",
    )
    changed = {"epochs": options.epochs, "batch_size": options.batch_size, "lr": options.lr}
    return job, schedule.model_copy(update=changed)


def write_decoder(
    name: str, decoder: Decoder, training: dict[str, Any], dev: dict[str, float | None]
) -> None:
    """Writes a decoder's checkpoint folder with its settings, its scores on dev and a model card."""
    folder, kind = checkpoint(decoder.kind), decoder.kind
    save_decoder(folder, decoder, training=training, **dev)
    write_card(
        folder, f"Image captioner: {kind}", describe_captioner(kind, decoder.features),
        {name: training, "sizes": decoder.sizes, "features": decoder.features},
        dev, ["image-captioning", kind],
    )  # fmt: skip
    weights = sum(parameter.numel() for parameter in decoder.model.parameters())
    print(f"wrote {folder}: {weights:,} weights, {decoder.text.size} tokens of vocabulary")


def _parts(captions: Sequence[list[str]]) -> Iterator[list[list[str]]]:
    """Captions of some images at a time."""
    return (captions[start : start + AT_ONCE] for start in range(0, len(captions), AT_ONCE))


def _encode(captions: Iterable[list[str]], decoder: Decoder, max_tokens: int | None) -> list[list[list[int]]]:
    captions = list(captions)
    flat = iter(decoder.text.encode([caption for of_image in captions for caption in of_image], max_tokens))
    return [[next(flat) for _ in of_image] for of_image in captions]
