"""Training either decoder: the same features-and-captions job for the LSTM and for ClipCap."""

from __future__ import annotations

from pathlib import Path

import torch

from captioning.batches import CaptionBatches
from captioning.cards import WHAT, write_card
from captioning.checkpoints import Decoder, save_decoder
from captioning.datasets import Data
from captioning.decoding import greedy
from captioning.device import pick_device
from captioning.features import FeatureStore
from captioning.files import fingerprint
from captioning.settings import TrainDecoder
from captioning.training import Job, fit

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
    max_tokens: int | None = None,
    origin: str = "",
) -> None:
    """Trains a decoder on cached features and writes its checkpoint folder.

    Args:
        name: of the stage.
        captions: for "train" and "dev", for each image of the split its captions, as the decoder's text wants them.
        max_tokens: longer captions are cut to this, end-of-text counted.
        origin: where the decoder's first weights come from; a state of training with another one is not resumed.
    """
    device, model, text = pick_device(), decoder.model, decoder.text
    batches = {
        split: CaptionBatches(
            store.load(data.split(split)), _encode(captions[split], decoder, max_tokens),
            options.batch_size, seed, device,
        )
        for split in ("train", "dev")
    }  # fmt: skip
    first = next(batches["dev"].in_order())[0][:SHOWN]
    references = [of_image[0] for of_image in captions["dev"][:SHOWN]]

    def loss(features: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return model.loss(features, tokens, options.label_smoothing).mean

    def evaluate() -> dict[str, float]:
        losses = [model.loss(*batch) for batch in batches["dev"].in_order()]
        return {"dev_loss": (sum(one.total for one in losses) / sum(one.tokens for one in losses)).item()}

    def samples() -> list[str]:
        found = greedy(model, first, max_tokens=SHOWN_TOKENS, eos_id=text.eos_id, banned_ids=text.banned_ids)
        said = [text.decode(hypotheses[0].tokens) for hypotheses in found]
        lines = [f"{caption!r}  (a person: {reference!r})" for caption, reference in zip(said, references, strict=True)]
        if len(said) > 1 and len(set(said)) == 1:
            lines.append("the same caption for each: the image is not used yet")
        return lines

    job = Job(
        name=name,
        model=model,
        loss=loss,
        batches=batches["train"].epoch,
        steps=len(batches["train"]),
        evaluate=evaluate,
        monitor="dev_loss",
        inputs=fingerprint(store.attrs, decoder.sizes, captions, text.tokenizer.to_str(), max_tokens, origin),
        samples=samples,
    )
    history = fit(job, options, seed, folder)
    best = min((scores["dev_loss"] for scores in history), default=None)
    training = options.model_dump() | {"seed": seed}
    save_decoder(folder, decoder, training=training, dev_loss=best)
    write_card(
        folder, f"Image captioner: {decoder.kind}", WHAT[decoder.kind],
        {name: training, "sizes": decoder.sizes, "features": decoder.features}, {"dev_loss": best},
        ["image-captioning", decoder.kind],
    )  # fmt: skip
    print(f"wrote {folder}: {sum(p.numel() for p in model.parameters()):,} weights, {text.size} tokens of vocabulary")


def _encode(captions: list[list[str]], decoder: Decoder, max_tokens: int | None) -> list[list[list[int]]]:
    flat = iter(decoder.text.encode([caption for of_image in captions for caption in of_image], max_tokens))
    return [[next(flat) for _ in of_image] for of_image in captions]
