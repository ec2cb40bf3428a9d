"""Finds a captioner's parts in a project, or in one folder that `python -m commands.export` wrote.

an exported folder                  a project
config.json, model.safetensors,     checkpoints/clipcap/         the decoder, its tokenizer and a card
  tokenizer.json, README.md
encoder/                            checkpoints/clip/            the network that computed its features
config.json, "captioning"           params.yaml, or `DEFAULTS`   the seed, `generate` and `extract_clip`
consensus.safetensors, .json        features/clip.h5, data/      features and captions of the training images;
                                                                 only if `generate.consensus` is on
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from captioning.core import paths
from captioning.core import settings as schema
from captioning.core.errors import opening
from captioning.core.paths import CONFIG
from captioning.data.dataset import load_data
from captioning.decoders.checkpoint import Decoder
from captioning.features.store import FeatureStore
from captioning.search.consensus import Consensus, table_of

ENCODER, HOW = "encoder", "captioning"
TABLE, CAPTIONS = "consensus.safetensors", "consensus.json"
DEFAULTS = {  # for a checkpoint without params.yaml, and for keys that an older export lacks
    "beam_size": 5, "length_penalty": 1.0, "no_repeat_ngram": 0, "max_tokens": 40, "batch_size": 64,
    "consensus": 0.0, "ensemble": {"lstm": [], "clipcap": []},
    "diverse": {"captions": 5, "method": "nucleus", "top_p": 0.9, "temperature": 0.5, "strength": 0.5},
}  # fmt: skip


class How(schema.Group):
    """How to encode pictures, and how to search for and draw captions."""

    seed: schema.Whole
    generate: schema.GenerateSettings
    extract: schema.ExtractSettings

    @classmethod
    def of(cls, folder: Path, kind: str) -> How:
        """Reads an exported folder's settings, or those of the captioner's project. Raises UserError."""
        with opening(folder / CONFIG, "a captioner's config of this version", "export it again"):
            found = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get(HOW)
            if found:
                return cls.model_validate(found | {"generate": DEFAULTS | found["generate"]})
        params = project_of(folder) / paths.PARAMS
        if not params.is_file():
            return cls(seed=0, generate=DEFAULTS, extract={"batch_size": 64, "precision": "auto"})
        settings = schema.load(params)
        extract = getattr(settings, f"extract_{paths.ENCODER_OF[kind]}")
        extract = schema.ExtractSettings(batch_size=extract.batch_size, precision=extract.precision)
        return cls(seed=settings.seed, generate=settings.generate, extract=extract)


def project_of(checkpoint: Path) -> Path:
    """The project folder (with params.yaml) of one of its checkpoints."""
    return checkpoint.absolute().parents[1]


def encoder_of(folder: Path, kind: str) -> Path:
    """The encoder's folder: inside the captioner's folder, or beside it."""
    inside = folder / ENCODER
    return inside if inside.is_dir() else folder.absolute().parent / paths.ENCODER_OF[kind]


def table(folder: Path, decoder: Decoder) -> tuple[np.ndarray, list[list[str]]]:
    """The training images' features (N, D), and their captions as tokens."""
    if (folder / ENCODER).is_dir():
        again = "export it again, with generate.consensus"
        with opening(folder / TABLE, "a table of training images", again):
            features = load_file(folder / TABLE)["features"]
            captions = json.loads((folder / CAPTIONS).read_text(encoding="utf-8"))
            if len(features) != len(captions):
                raise ValueError(f"{len(features)} images, captions of {len(captions)}")
            return features, captions
    project, encoder = project_of(folder), paths.ENCODER_OF[decoder.kind]
    store = FeatureStore.open(project / paths.features(encoder), expect=decoder.features)
    return table_of(store, load_data(project / paths.DATA))


def consensus(folder: Path, decoder: Decoder, weight: float) -> Consensus | None:
    """The function that ranks a beam's captions by consensus; None if its weight is 0."""
    return Consensus(*table(folder, decoder), decoder.text, weight) if weight else None
