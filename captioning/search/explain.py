"""What explains a caption: the probability of each token, and where the decoder attended.

One entry per image, for the report:

    {"image_id": "00009", "tokens": [" a", " dog", ...], "log_probs": [-0.1, ...], "ended": true,
     "attention": {"rows": 14, "columns": 14, "maps": "<base64>"},        only for the attending LSTM
     "prefix_words": ["dog", ...]}                                          only for ClipCap

`tokens` are pieces of text that join to the caption. `log_probs` are in nats; if the caption ended by itself,
there is one more, for the end-of-text token. `maps` are bytes, one map per token: 255 is the cell with the
most attention.
"""

from __future__ import annotations

import base64
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from captioning.decoders.checkpoint import Decoder
from captioning.decoders.vocabulary import Text
from captioning.search.base import Hypothesis

DIGITS = 3  # digits of a log-probability
MOST_CELLS = 14  # a side of an attention map; finer grids are averaged


@torch.inference_mode()
def details(
    decoder: Decoder, ids: list[str], features: Tensor, captions: list[Hypothesis]
) -> list[dict[str, Any]]:
    """One entry for each of B images: `features` (B, ...) are what `captions` were made from."""
    entries = [
        {
            "image_id": image,
            "tokens": pieces(decoder.text, caption.tokens),
            "log_probs": [round(value, DIGITS) for value in caption.log_probs],
            "ended": caption.ended,
        }
        for image, caption in zip(ids, captions, strict=True)
    ]
    if decoder.kind == "lstm" and decoder.model.config.grid:
        rows, columns = features.shape[1:3]
        for entry, maps in zip(entries, attention_maps(decoder, features, captions), strict=True):
            entry["attention"] = {
                "rows": min(rows, MOST_CELLS),
                "columns": min(columns, MOST_CELLS),
                "maps": base64.b64encode(maps.numpy().tobytes()).decode(),
            }
    if decoder.kind == "clipcap":
        for entry, words in zip(entries, prefix_words(decoder, features), strict=True):
            entry["prefix_words"] = words
    return entries


def pieces(text: Text, tokens: list[int]) -> list[str]:
    """The text that each token adds to those before it. The bytes of an unfinished character add nothing."""
    whole = [text.tokenizer.decode(tokens[:n]) for n in range(1, len(tokens) + 1)]
    whole = [said.rstrip("\N{REPLACEMENT CHARACTER}") for said in whole]
    return [after[len(before) :] for before, after in zip(["", *whole], whole, strict=False)]


def attention_maps(decoder: Decoder, features: Tensor, captions: list[Hypothesis]) -> list[Tensor]:
    """Attention maps of each image, uint8 (tokens, H, W), scaled so that each map's maximum is 255."""
    rows, columns = features.shape[1:3]
    longest = max(1, max(len(caption.tokens) for caption in captions))
    tokens = torch.tensor([caption.tokens + [0] * (longest - len(caption.tokens)) for caption in captions])
    weights = decoder.model.attention_of(features, tokens.to(features.device)).cpu()  # (B, T, H*W)
    maps = weights.unflatten(2, (rows, columns))  # (B, T, H, W)
    maps = F.adaptive_avg_pool2d(maps, (min(rows, MOST_CELLS), min(columns, MOST_CELLS)))
    maps = (255 * maps / maps.amax(dim=(2, 3), keepdim=True).clamp(min=1e-12)).round().to(torch.uint8)
    return [of_image[: len(caption.tokens)] for of_image, caption in zip(maps, captions, strict=True)]


def prefix_words(decoder: Decoder, features: Tensor) -> list[list[str]]:
    """For each image and each of ClipCap's prefix tokens, the vocabulary's nearest token by cosine.

    This reads the prefix as words (Mokady et al. 2021, section 4.3). It is readable with a frozen GPT-2, and
    less so with a tuned one, which can adapt to prefixes that are far from any word.
    """
    table = F.normalize(decoder.model.gpt.transformer.wte.weight.float(), dim=1)  # (V, E)
    prefix = F.normalize(decoder.model.prefix(features).float(), dim=2)  # (B, P, E)
    nearest = (prefix @ table.T).argmax(dim=2)  # (B, P)
    decode = decoder.text.tokenizer.decode
    return [[decode([token]).strip() for token in of_image] for of_image in nearest.tolist()]
