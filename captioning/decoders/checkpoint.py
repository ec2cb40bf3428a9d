"""A trained decoder as a folder in the Hugging Face manner, which `captioning.decoders.checkpoint.load` reads.

It holds `config.json` (kind, sizes, and which features the decoder was trained on), `model.safetensors`, the tokenizer
and a model card. A decoder refuses features that another encoder, layer, preprocessing or normalisation made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel
from safetensors.torch import load_file, save_file
from torch import nn

from captioning.core.errors import UserError, opening
from captioning.core.files import atomic_write, write_json
from captioning.decoders.vocabulary import Text
from models import clipcap
from models.lstm import LSTMConfig, LSTMDecoder

Config = TypeVar("Config")

# The attributes of a feature store that must be the same for training and for captioning.
FEATURE_KEYS = ("encoder", "layer", "weights", "preprocessing", "normalization")
TIED = {"gpt.lm_head.weight": "gpt.transformer.wte.weight"}  # one tensor under two names; stored once


@dataclass
class Decoder:
    """A captioner: the network, its text, and what else is needed to build and to use it.

    Attributes:
        kind: lstm or clipcap.
        sizes: what the network is made from.
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


def config_from(config: type[Config], settings: BaseModel, **others: Any) -> Config:
    """A network's configuration: the fields that the settings have under the same names, and `others`."""
    names = {field.name for field in fields(config)} & set(type(settings).model_fields)
    return config(**{name: getattr(settings, name) for name in names} | others)


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


def read_decoder(folder: str | Path, builders: Mapping[str, Callable[[dict[str, Any]], nn.Module]]) -> Decoder:
    """The captioner in a checkpoint folder, in fp32 on the CPU, in eval mode.

    Args:
        builders: for each kind that is expected, what makes its network from its sizes.
    """
    folder = Path(folder)
    with opening(folder, "a captioner's checkpoint of this version", "`dvc repro` trains and writes it"):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind, sizes, features = config["kind"], config["sizes"], dict(config["features"])
        if kind not in builders:
            raise UserError(f"{folder} is a captioner of kind {kind!r}; expected {' or '.join(builders)}")
        model = builders[kind](sizes)
        weights = load_file(folder / "model.safetensors")
        for copy, original in TIED.items():
            if original in weights:
                weights.setdefault(copy, weights[original])
        model.load_state_dict(weights)
    return Decoder(kind, model.eval(), Text.load(folder), sizes, features)


def load(folder: str | Path) -> Decoder:
    """The captioner in a checkpoint folder, in fp32 on the CPU, in eval mode. UserError when there is none."""
    return read_decoder(folder, {"lstm": lstm_from_sizes, "clipcap": clipcap.from_sizes})


def lstm_from_sizes(sizes: dict[str, Any]) -> LSTMDecoder:
    return LSTMDecoder(LSTMConfig(**sizes))
