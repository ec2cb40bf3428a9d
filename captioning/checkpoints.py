"""Writing a trained decoder: a folder in the Hugging Face manner, which `captioning.captioners.load` reads.

It holds `config.json` (kind, sizes, and which features the decoder was trained on), `model.safetensors` and the
tokenizer. A decoder refuses features that another encoder, layer, preprocessing or normalisation made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from captioning.files import atomic_write, write_json
from captioning.text import Text

# The attributes of a feature store that must be the same for training and for captioning.
FEATURE_KEYS = ("encoder", "layer", "weights", "preprocessing", "normalization")
TIED = {"gpt.lm_head.weight": "gpt.transformer.wte.weight"}  # one tensor under two names; stored once


@dataclass
class Decoder:
    """A captioner: the network, its text, and what else is needed to build and to use it.

    Attributes:
        kind: lstm or clipcap.
        sizes: what `captioning.captioners.build` makes the network from.
        features: attributes of the features that it is trained on (`feature_identity`).
    """

    kind: str
    model: nn.Module
    text: Text
    sizes: dict[str, Any]
    features: dict[str, str]


def feature_identity(attributes: Mapping[str, Any]) -> dict[str, str]:
    """What of a feature store's attributes a decoder depends on."""
    return {key: str(attributes[key]) for key in FEATURE_KEYS if key in attributes}


def save_decoder(folder: Path, decoder: Decoder, **extra: object) -> None:
    """Writes a checkpoint folder; `extra` (scores, settings, ...) goes into its config.json."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in decoder.model.state_dict().items()}
    for copy, original in TIED.items():
        if copy in weights and torch.equal(weights[copy], weights[original]):
            del weights[copy]
    with atomic_write(folder / "model.safetensors", "wb") as file:
        save_file(weights, file.name, metadata={"format": "pt"})
    decoder.text.save(folder)
    config = {"kind": decoder.kind, "sizes": decoder.sizes, "features": decoder.features}
    write_json(folder / "config.json", config | extra)
