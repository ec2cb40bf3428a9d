"""Every kind of captioner: builds and loads the one in a checkpoint folder.

The training stages do not import this module, so a change to one decoder's network does not retrain the
others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from captioning.decoders.checkpoint import Decoder, read_decoder
from models.clipcap import from_sizes
from models.lstm import LSTMConfig, LSTMDecoder


def load(folder: str | Path) -> Decoder:
    """Loads the captioner in a checkpoint folder, in fp32 on the CPU, in eval mode.

    Raises UserError if there is none.
    """
    return read_decoder(folder, BUILDERS)


def lstm_from_sizes(sizes: dict[str, Any]) -> LSTMDecoder:
    return LSTMDecoder(LSTMConfig(**sizes))


# For each kind, the function that builds its network from its sizes
BUILDERS = {"lstm": lstm_from_sizes, "clipcap": from_sizes}
