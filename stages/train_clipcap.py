"""Stage train_clipcap: trains ClipCap, a mapping network and GPT-2, on the cached CLIP embeddings.

Reads   data/ (training and dev captions), features/clip.h5, a pretrained GPT-2 if `model.gpt2` names one.
Writes  checkpoints/clipcap/ (config.json, model.safetensors, tokenizer), live/train_clipcap/ (curves).
        `model.init_from` starts from a trained ClipCap, and with 0 epochs passes it through unchanged.
Expect  on `scenes`, with a small GPT-2 from scratch, four minutes on 2 cores.
"""

from __future__ import annotations

from collections.abc import Iterable

from captioning.core import settings as schema
from captioning.core.device import seed_everything
from captioning.core.errors import UserError
from captioning.core.paths import features as features_of
from captioning.data.dataset import load_data
from captioning.decoders.checkpoint import Decoder, feature_identity
from captioning.decoders.clipcap import fresh_clipcap, initial_clipcap
from captioning.features.store import FeatureStore
from captioning.training.decoder import DecoderData, train_decoder
from captioning.training.processes import in_processes
from stages import stage


@stage
@in_processes
def main() -> None:
    settings = schema.load()
    options = settings.model
    data, store = load_data(), FeatureStore.open(features_of("clip"))
    if len(store.shape) != (3 if store.attrs.get("layer") == "patches" else 2):
        raise UserError(
            f"features/clip.h5 has shape {store.shape[1:]} per image, but ClipCap needs one vector (D,): "
            "mend the file that clip.features names"
        )
    captions = {split: data.by_image("caption", split) for split in ("train", "dev")}
    seed_everything(settings.seed)
    features = feature_identity(store.attrs)
    decoder = first_clipcap(settings, captions["train"], store.shape[-1], features)
    passed_through = options.init_from and not settings.train_clipcap.epochs
    train_decoder(
        "train_clipcap", decoder, DecoderData(data, store, captions, options.max_caption_tokens), settings,
        origin=f"{options.gpt2} {options.init_from}",
        standardize=decoder.model.config.standardize and not passed_through,
    )  # fmt: skip


def first_clipcap(
    settings: schema.Settings, captions: Iterable[list[str]], feature_size: int, features: dict
) -> Decoder:
    """The ClipCap before training: that of `model.init_from`, or a new mapping with `model.gpt2`."""
    if settings.model.init_from:
        return initial_clipcap(settings, feature_size, features)
    every = (caption for of_image in captions for caption in of_image)
    return fresh_clipcap(settings.model, every, feature_size, features)


if __name__ == "__main__":
    main()
