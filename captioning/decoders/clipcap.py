"""`model.init_from`: starts from an existing ClipCap, one of the authors' checkpoints or one of our own.

The authors (Mokady et al. 2021) publish bare state dicts (`coco_prefix-*.pt`, `conceptual_weights.pt`,
`transformer_weights.pt`). They contain GPT-2 and the mapping network but no sizes; these are inferred from
the shapes here. The authors trained the MLP models on unscaled CLIP embeddings (`extract_clip.normalize:
false`), and the transformer models on embeddings of length 1. All captions ended in a full stop, without an
end-of-text token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from captioning.core.errors import UserError, opening
from captioning.core.settings import ClipCapSettings, Settings
from captioning.decoders.checkpoint import Decoder, read_decoder
from captioning.decoders.vocabulary import Text, pretrained_bpe, train_bpe
from captioning.weights import sources
from captioning.weights.checkpoint import config_from
from captioning.weights.state_dict import read_folder, read_state_dict
from models.clipcap import ClipCap, ClipCapConfig, from_sizes
from models.empty import no_weights
from models.gpt2 import GPT2, GPT2Config

HEAD = 64  # channels of an attention head in every published GPT-2
# Masks that old versions of transformers stored.
OLD_BUFFERS = re.compile(r"gpt\.transformer\.h\.\d+\.attn\.(bias|masked_bias)")
WHOLE = ("transformer.", "lm_head.")  # prefixes of a GPT-2 with its output layer; the hub's gpt2 has none
REPLACE = "copy the model's files again, or name another model in model.gpt2"
CLIP_WITH = {512: "ViT-B/32, ViT-B/16, RN101", 640: "RN50x4", 768: "ViT-L/14, RN50x16", 1024: "RN50, RN50x64"}


def fresh_clipcap(
    options: ClipCapSettings, captions: Iterable[str], feature_size: int, features: dict[str, str]
) -> Decoder:
    """A new mapping network in front of the GPT-2 that `model.gpt2` names.

    A GPT-2 from scratch has positions for the prefix, too.

    Args:
        captions: the training images'.
        feature_size, features: as in `initial_clipcap`.
    """
    text, gpt = language_model(options, captions)
    tokens = {"clip_len": 0} if features.get("layer") == "patches" else {}
    config = config_from(ClipCapConfig, options, feature_size=feature_size, **tokens)
    sizes = config.to_dict() | {"gpt2": gpt.config.to_dict()}
    return Decoder("clipcap", ClipCap(config, gpt), text, sizes, features)


def initial_clipcap(settings: Settings, feature_size: int, features: dict[str, str]) -> Decoder:
    """Loads the captioner that `model.init_from` names, for training or, with 0 epochs, for use at once.

    Args:
        feature_size: the length of an embedding in the feature store.
        features: the store's attributes (`captioning.decoders.checkpoint.feature_identity`).

    Raises:
        UserError: no such checkpoint, or one for other features.
    """
    path, at_once = Path(settings.model.init_from).expanduser(), settings.train_clipcap.epochs == 0
    if path.is_dir():
        decoder = _own(path, features, settings)
    else:
        decoder = _published(path, settings)
        _check_normalization(path, decoder, features, at_once)
    wanted = decoder.model.config.feature_size
    if wanted != feature_size:
        raise UserError(
            f"model.init_from = {path} takes embeddings of {wanted} numbers, but features/clip.h5 has "
            f"{feature_size}: set clip.weights to the CLIP that it was trained with ({wanted}: "
            f"{CLIP_WITH.get(wanted, 'no CLIP of OpenAI')})"
        )
    if (decoder.model.config.clip_len == 0) != (features.get("layer") == "patches"):
        raise UserError(
            f"model.init_from = {path} takes {'one vector' if decoder.model.config.clip_len else 'patches'} "
            "per image, but features/clip.h5 does not have these: change clip.layer"
        )
    decoder.features = features
    c, layers = decoder.model.config, decoder.model.gpt.config.n_layer
    print(f"starting from {path}: {c.mapping} mapping, prefix of {c.prefix_len}, GPT-2 of {layers} layers")
    return decoder


def _own(folder: Path, features: dict[str, str], settings: Settings) -> Decoder:
    try:
        decoder = read_decoder(folder, {"clipcap": from_sizes})
    except UserError as error:
        raise UserError(f"model.init_from = {folder} is not a ClipCap to start from: {error}") from None
    own = decoder.features.items()
    differing = [f"{key} = {value!r}" for key, value in own if features.get(key) != value]
    if differing and settings.train_clipcap.epochs == 0:
        raise UserError(
            f"model.init_from = {folder} was trained on features with {', '.join(differing)}, but "
            "features/clip.h5 has others: set train_clipcap.epochs above 0 to train it on these"
        )
    frozen, dropout = settings.model.freeze_gpt2, settings.model.image_dropout
    decoder.sizes |= {"freeze_gpt2": frozen, "image_dropout": dropout}
    decoder.model.config = replace(decoder.model.config, freeze_gpt2=frozen, image_dropout=dropout)
    decoder.model.gpt.requires_grad_(not frozen)
    decoder.model.standardize.dropout.p = dropout
    return decoder


def _check_normalization(path: Path, decoder: Decoder, features: dict[str, str], at_once: bool) -> None:
    wanted = "none" if decoder.model.config.mapping == "mlp" else "l2"
    if features.get("normalization") == wanted:
        return
    advice = (
        f"{path}: ClipCap's authors trained the {decoder.model.config.mapping} mapping on embeddings with "
        f"normalization = {wanted}; set extract_clip.normalize to {'false' if wanted == 'none' else 'true'}"
    )
    if at_once:
        raise UserError(f"model.init_from = {advice}")
    print(f"note: {advice}, or leave it: training adapts the mapping")


def _published(path: Path, settings: Settings) -> Decoder:
    weights = {n: t.float() for n, t in read_state_dict(path).items() if not OLD_BUFFERS.fullmatch(n)}
    source = sources.gpt2(settings.model.gpt2)
    if source is None:
        raise UserError(
            f"model.init_from = {path} needs GPT-2's tokenizer: set model.gpt2 to gpt2, or to its folder"
        )
    text = open_tokenizer(source.get())
    try:
        chosen = {"freeze_gpt2": settings.model.freeze_gpt2, "image_dropout": settings.model.image_dropout}
        sizes = sizes_of(weights) | chosen
        model = from_sizes(sizes)
        # One tensor has two names.
        weights.setdefault("gpt.lm_head.weight", weights["gpt.transformer.wte.weight"])
        model.load_state_dict(weights)
    except KeyError as error:
        raise UserError(f"model.init_from = {path} is not a ClipCap: no weight named {error}") from None
    except (RuntimeError, ValueError) as error:
        fault = str(error).splitlines()[-1].strip()
        raise UserError(f"model.init_from = {path} does not fit a ClipCap: {fault}") from None
    if text.size != sizes["gpt2"]["vocab_size"]:
        raise UserError(
            f"model.init_from = {path} has a vocabulary of {sizes['gpt2']['vocab_size']} tokens, but "
            f"model.gpt2 = {settings.model.gpt2} has {text.size}: name the GPT-2 that it was trained with"
        )
    if settings.train_clipcap.epochs == 0:
        text = Text(text.tokenizer, end=".")
    return Decoder("clipcap", model, text, sizes, {})


def sizes_of(weights: dict[str, Tensor]) -> dict:
    """Infers the sizes for `models.clipcap.from_sizes` from a published state dict.

    Raises:
        KeyError: a weight that every ClipCap has is missing.
    """

    def count(prefix: str) -> int:
        return len({name.removeprefix(prefix).split(".")[0] for name in weights if name.startswith(prefix)})

    vocabulary, width = weights["gpt.transformer.wte.weight"].shape
    gpt2 = GPT2Config(
        vocab_size=vocabulary,
        n_positions=weights["gpt.transformer.wpe.weight"].shape[0],
        n_embd=width,
        n_layer=count("gpt.transformer.h."),
        n_head=max(1, width // HEAD),
    )
    if "clip_project.prefix_const" in weights:
        unfolded, size = weights["clip_project.linear.weight"].shape
        mapping = {
            "mapping": "transformer",
            "prefix_len": weights["clip_project.prefix_const"].shape[0],
            "clip_len": unfolded // width,
            "mapping_layers": count("clip_project.transformer.layers."),
        }
    else:
        size = weights["clip_project.model.0.weight"].shape[1]
        mapping = {"mapping": "mlp", "prefix_len": weights["clip_project.model.2.weight"].shape[0] // width}
    return ClipCapConfig(feature_size=size, **mapping).to_dict() | {"gpt2": gpt2.to_dict()}


def language_model(options: ClipCapSettings, captions: Iterable[str]) -> tuple[Text, GPT2]:
    """Returns the tokenizer and GPT-2 that `model.gpt2` names, in fp32 on the CPU.

    Args:
        captions: the training images'; a tokenizer from scratch is trained on them.
    """
    if options.gpt2 == "scratch":
        return from_scratch(options, captions)
    folder = sources.gpt2(options.gpt2).get()
    return open_tokenizer(folder), open_model(folder)


def from_scratch(options: ClipCapSettings, captions: Iterable[str]) -> tuple[Text, GPT2]:
    """A BPE vocabulary trained on the captions, and a GPT-2 with random weights."""
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
    )
    return text, GPT2(config)


def open_tokenizer(folder: Path) -> Text:
    """Opens a folder's tokenizer; `vocab.json` and `merges.txt` are enough."""
    names = {path.name for path in folder.glob("*")}
    if "tokenizer.json" not in names and not {"vocab.json", "merges.txt"} <= names:
        raise UserError(f"{folder} has no tokenizer: expected vocab.json and merges.txt, or tokenizer.json")
    with opening(folder, "the folder of a tokenizer that can be read", REPLACE):
        return pretrained_bpe(folder)


def open_model(folder: Path) -> GPT2:
    """Loads a GPT-2 from a folder in transformers' form, in fp32. All weights must be there."""
    with opening(folder, "a GPT-2 that can be read", REPLACE):
        values, found = read_folder(folder)
        config = GPT2Config.from_dict(values)
        names = {name: name if name.startswith(WHOLE) else f"transformer.{name}" for name in found}
        kept = {name: own for name, own in names.items() if not OLD_BUFFERS.fullmatch(f"gpt.{own}")}
        weights = {own: found[name].float() for name, own in kept.items()}
        tokens = weights.get("transformer.wte.weight")
        tied = config.tie_word_embeddings and tokens is not None
        if tied and not torch.equal(weights.setdefault("lm_head.weight", tokens), tokens):
            raise ValueError("config.json ties lm_head.weight to wte.weight, but they differ")
        with no_weights():
            model = GPT2(config)
        expected = model.state_dict().keys()
        if missing := sorted(expected - weights.keys()):
            raise UserError(
                f"{folder}: {len(missing)} of GPT-2's weights are missing, such as {missing[0]}; {REPLACE}"
            )
        if more := sorted(weights.keys() - expected):
            raise UserError(
                f"{folder}: {len(more)} weights have no place in the network that config.json describes, "
                f"such as {more[0]}: both files must come from one model; {REPLACE}"
            )
        model.load_state_dict(weights)
    return model
