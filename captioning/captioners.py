"""Reading a trained decoder of either kind from its checkpoint folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from captioning.checkpoints import TIED, Decoder
from captioning.errors import UserError
from captioning.text import Text
from models.clipcap import ClipCap, ClipCapConfig
from models.lstm import LSTMConfig, LSTMDecoder


def build(kind: str, sizes: dict[str, Any]) -> nn.Module:
    """The network that `sizes` of a config.json describe, with fresh weights."""
    if kind == "lstm":
        return LSTMDecoder(LSTMConfig(**sizes))
    if kind == "clipcap":
        sizes = dict(sizes)
        gpt = GPT2LMHeadModel(GPT2Config(**sizes.pop("gpt2")))
        return ClipCap(ClipCapConfig(**sizes), gpt)
    raise ValueError(f"unknown kind of captioner {kind!r}")


def load(folder: str | Path) -> Decoder:
    """The captioner in a checkpoint folder, in fp32 on the CPU, in eval mode."""
    folder = Path(folder)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind, sizes, features = config["kind"], config["sizes"], config["features"]
        model = build(kind, sizes)
        weights = load_file(folder / "model.safetensors")
        for copy, original in TIED.items():
            if original in weights:
                weights.setdefault(copy, weights[original])
        model.load_state_dict(weights)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename or folder} is missing: `dvc repro` trains and writes it") from None
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        fault = str(error).splitlines()[-1].strip()
        raise UserError(f"{folder} is no captioner's checkpoint, or is damaged: {fault}") from None
    return Decoder(kind, model.eval(), Text.load(folder), sizes, features)
