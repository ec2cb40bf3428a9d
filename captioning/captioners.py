"""Reading a trained decoder of either kind from its checkpoint folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from captioning.checkpoints import Decoder, read_decoder
from models import clipcap
from models.lstm import LSTMConfig, LSTMDecoder

FEATURES = {"lstm": Path("features/vgg16.h5"), "clipcap": Path("features/clip.h5")}  # what each kind sees


def load(folder: str | Path) -> Decoder:
    """The captioner in a checkpoint folder, in fp32 on the CPU, in eval mode. UserError when there is none."""
    return read_decoder(folder, {"lstm": lstm_from_sizes, "clipcap": clipcap.from_sizes})


def lstm_from_sizes(sizes: dict[str, Any]) -> LSTMDecoder:
    return LSTMDecoder(LSTMConfig(**sizes))
