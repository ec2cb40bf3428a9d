"""A trained decoder in a checkpoint folder (`captioning.weights.checkpoint`), with its tokenizer.

A decoder refuses features of another encoder, layer, preprocessing or normalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from captioning.decoders.vocabulary import Text
from captioning.weights import checkpoint

# Attributes of a feature store that must be the same for training and for captioning.
FEATURE_KEYS = ("encoder", "layer", "weights", "preprocessing", "normalization")


@dataclass
class Decoder:
    """A captioner: the network, its text, and what is needed to build and use it.

    Attributes:
        kind: lstm or clipcap.
        sizes: the sizes from which the network is built.
        features: attributes of the features that it was trained on (`feature_identity`).
    """

    kind: str
    model: nn.Module
    text: Text
    sizes: dict[str, Any]
    features: dict[str, str]


def feature_identity(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Returns the attributes of a feature store on which a decoder depends."""
    return {key: str(attributes[key]) for key in FEATURE_KEYS if key in attributes}


def save_decoder(folder: Path, decoder: Decoder, **extra: object) -> None:
    """Writes a checkpoint folder; `extra` (scores, settings, ...) is added to its config.json."""
    checkpoint.save(folder, decoder.kind, decoder.model, decoder.sizes, features=decoder.features, **extra)
    decoder.text.save(folder)


def read_decoder(
    folder: str | Path, builders: Mapping[str, Callable[[dict[str, Any]], nn.Module]]
) -> Decoder:
    """Reads the captioner in a checkpoint folder, in fp32 on the CPU, in eval mode.

    Args:
        builders: for each expected kind, a function that builds its network from its sizes.
    """
    saved = checkpoint.read(folder, builders)
    features, text = saved.part("features", dict), Text.load(saved.folder)
    return Decoder(saved.kind, saved.network(builders[saved.kind]).eval(), text, saved.sizes, features)
