"""Stage train_clipcap: trains ClipCap, a mapping network and GPT-2, on the cached CLIP embeddings.

Reads   data/ (training and dev captions), features/clip.h5, a pretrained GPT-2 when `model.gpt2` names one.
Writes  checkpoints/clipcap/ (config.json, model.safetensors, tokenizer), live/train_clipcap/ (curves).
        `model.init_from` starts from a trained ClipCap instead, and with 0 epochs passes it through.
Expect  on `scenes`, with a small GPT-2 from scratch, well under a minute on 2 cores.
"""

from __future__ import annotations

from captioning.core import settings as schema
from captioning.core.device import seed_everything
from captioning.core.errors import UserError
from captioning.core.paths import checkpoint
from captioning.core.paths import features as features_of
from captioning.data.dataset import load_data
from captioning.decoders.checkpoint import feature_identity
from captioning.decoders.clipcap import fresh_clipcap, initial_clipcap
from captioning.features.store import FeatureStore
from captioning.training.decoder import train_decoder
from stages import stage


@stage
def main() -> None:
    settings = schema.load()
    options = settings.model
    data, store = load_data(), FeatureStore.open(features_of("clip"))
    if len(store.shape) != 2:
        raise UserError(
            f"features/clip.h5 holds {store.shape[1:]} an image; ClipCap needs one vector: see clip.features"
        )
    captions = {split: list(data.references(split).values()) for split in ("train", "dev")}
    seed_everything(settings.seed)
    features = feature_identity(store.attrs)
    if options.init_from:
        decoder = initial_clipcap(settings, store.shape[-1], features)
    else:
        decoder = fresh_clipcap(
            options, [caption for of_image in captions["train"] for caption in of_image], store.shape[-1], features
        )
    passed_through = options.init_from and not settings.train_clipcap.epochs
    train_decoder(
        "train_clipcap", decoder, store, captions, data, settings.train_clipcap, settings.seed, checkpoint("clipcap"),
        options.max_caption_tokens, origin=f"{options.gpt2} {options.init_from}",
        standardize=decoder.model.config.standardize and not passed_through,
    )  # fmt: skip


if __name__ == "__main__":
    main()
