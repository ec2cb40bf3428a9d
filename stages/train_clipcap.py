"""Stage train_clipcap: trains ClipCap, a mapping network and GPT-2, on the cached CLIP embeddings.

Reads   data/ (training and dev captions), features/clip.h5, a pretrained GPT-2 when `model.gpt2` names one.
Writes  checkpoints/clipcap/ (config.json, model.safetensors, tokenizer), live/train_clipcap/ (curves).
Expect  on `scenes`, with a small GPT-2 from scratch, about a minute on 2 cores.
"""

from __future__ import annotations

from transformers import GPT2Config, GPT2LMHeadModel

from captioning import settings as schema
from captioning.checkpoints import Decoder, feature_identity
from captioning.datasets import load_data
from captioning.decoders import train_decoder
from captioning.device import seed_everything
from captioning.errors import UserError
from captioning.features import FeatureStore
from captioning.text import Text, pretrained_bpe, train_bpe
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
    text, gpt = language_model(options, [caption for of_image in captions["train"] for caption in of_image])
    config = ClipCapConfig(
        feature_size=store.shape[-1],
        mapping=options.mapping,
        prefix_len=options.prefix_len,
        clip_len=options.clip_len,
        mapping_layers=options.mapping_layers,
        freeze_gpt2=options.freeze_gpt2,
    )
    sizes = config.to_dict() | {"gpt2": gpt.config.to_diff_dict()}
    decoder = Decoder("clipcap", ClipCap(config, gpt), text, sizes, feature_identity(store.attrs))
    train_decoder(
        "train_clipcap", decoder, store, captions, data, settings.train_clipcap, settings.seed, folder_of("clipcap"),
        options.max_caption_tokens,
    )  # fmt: skip


def language_model(options: schema.ClipCap, captions: list[str]) -> tuple[Text, GPT2LMHeadModel]:
    """GPT-2 and its tokenizer: by name, from a folder, or small ones made for these captions."""
    if options.gpt2 != "scratch":
        try:
            return pretrained_bpe(options.gpt2), GPT2LMHeadModel.from_pretrained(options.gpt2)
        except (OSError, ValueError) as error:
            raise UserError(f"model.gpt2 = {options.gpt2!r}: {' '.join(str(error).split())}") from None
    s, text = options.scratch, train_bpe(captions, options.scratch.vocab_size)
    config = GPT2Config(
        vocab_size=text.size,
        n_positions=options.prefix_len + options.max_caption_tokens,
        n_embd=s.width,
        n_layer=s.layers,
        n_head=s.heads,
        embd_pdrop=s.dropout,
        attn_pdrop=s.dropout,
        resid_pdrop=s.dropout,
        bos_token_id=text.eos_id,
        eos_token_id=text.eos_id,
    )
    return text, GPT2LMHeadModel(config)


if __name__ == "__main__":
    main()
