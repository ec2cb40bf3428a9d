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
from captioning.data.dataset import load_data
from captioning.decoders.checkpoint import Decoder, feature_identity
from captioning.decoders.clipcap import initial_clipcap, language_model
from captioning.features.store import FeatureStore
from captioning.training.decoder import train_decoder
from models.clipcap import ClipCap, ClipCapConfig
from stages import folder_of, stage


@stage
def main() -> None:
    settings = schema.load()
    options = settings.model
    data, store = load_data(), FeatureStore.open("features/clip.h5")
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
        decoder = fresh_clipcap(options, captions["train"], store.shape[-1], features)
    untouched = options.init_from and not settings.train_clipcap.epochs
    train_decoder(
        "train_clipcap", decoder, store, captions, data, settings.train_clipcap, settings.seed, folder_of("clipcap"),
        settings.generate.max_tokens, options.max_caption_tokens, origin=f"{options.gpt2} {options.init_from}",
        standardize=decoder.model.config.standardize and not untouched,
    )  # fmt: skip


def fresh_clipcap(options: schema.ClipCap, captions: list[list[str]], feature_size: int, features: dict) -> Decoder:
    """A new mapping network before the GPT-2 that `model.gpt2` names."""
    text, gpt = language_model(options, [caption for of_image in captions for caption in of_image])
    config = ClipCapConfig(
        feature_size=feature_size,
        mapping=options.mapping,
        prefix_len=options.prefix_len,
        standardize=options.standardize,
        image_dropout=options.image_dropout,
        clip_len=options.clip_len,
        mapping_layers=options.mapping_layers,
        freeze_gpt2=options.freeze_gpt2,
    )
    sizes = config.to_dict() | {"gpt2": gpt.config.to_diff_dict()}
    return Decoder("clipcap", ClipCap(config, gpt), text, sizes, features)


if __name__ == "__main__":
    main()
