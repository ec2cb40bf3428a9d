"""Every kind of captioner: how the one in a checkpoint folder is built and loaded.

The training stages do not import this module, so that a change to one decoder's network trains no other anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from captioning.decoders.checkpoint import Decoder, read_decoder
from models.lstm import LSTMConfig, LSTMDecoder


def load(folder: str | Path) -> Decoder:
    """The captioner in a checkpoint folder, in fp32 on the CPU, in eval mode. UserError when there is none."""
    return read_decoder(folder, BUILDERS)


def lstm_from_sizes(sizes: dict[str, Any]) -> LSTMDecoder:
    return LSTMDecoder(LSTMConfig(**sizes))


def clipcap_from_sizes(sizes: dict[str, Any]) -> nn.Module:
    from models.clipcap import from_sizes  # with transformers, which takes seconds that an LSTM need not wait

    return from_sizes(sizes)


# For each kind what makes its network from its sizes
BUILDERS = {"lstm": lstm_from_sizes, "clipcap": clipcap_from_sizes}
