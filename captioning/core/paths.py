"""The paths of the pipeline's files, relative to the project's folder."""

from __future__ import annotations

from pathlib import Path

ENCODER_OF = {"lstm": "vgg16", "clipcap": "clip"}  # each captioner and the encoder of its features

PARAMS = Path("params.yaml")
CODE, INPUTS = Path("code"), Path("inputs")

DATA = Path("data")
IMAGES, CAPTIONS = DATA / "images.csv", DATA / "captions.csv"
SHARDS = DATA / "shards"  # only for webdataset: the unpacked pictures
UNPACKED = DATA / ".unpacked"  # marks that folder as made by stage prepare
STATISTICS = DATA / "statistics.json"
DRAWINGS, FACTS = DATA / "images", DATA / "facts.json"  # only for scenes: the pictures and their contents

CHECKPOINTS = Path("checkpoints")
CONFIG, WEIGHTS = "config.json", "model.safetensors"  # the files of a network in its folder
PARAPHRASES = Path("features/paraphrases.gz")  # the part of METEOR's table that the references can match
TIMES = Path("live/times")  # duration of each stage's last run; not an output, since no two runs are equal

METRICS = Path("metrics.json")
RESULTS = Path("results")
SCORES, PER_IMAGE = RESULTS / "scores.json", RESULTS / "per_image.npz"
PLOTS, CARDS, REPORT = RESULTS / "plots", RESULTS / "cards", RESULTS / "report.html"


def checkpoint(network: str) -> Path:
    """The folder of a network: vgg16, clip, lstm or clipcap."""
    return CHECKPOINTS / network


def features(encoder: str) -> Path:
    """The feature store of an encoder: vgg16 or clip."""
    return Path("features") / f"{encoder}.h5"


def captions(captioner: str, what: str = "") -> Path:
    """A captioner's captions; with `what`, one of the additional files: diverse, details or weights."""
    return Path("captions") / f"{captioner}{what and '_'}{what}.json"


def scores_of_images(captioner: str) -> Path:
    """A table of all images' captions and scores."""
    return RESULTS / f"{captioner}.csv"


def live(stage: str) -> Path:
    """The folder that a training stage writes while it runs."""
    return Path("live") / stage


def curves(stage: str) -> Path:
    """The curves of a training stage: one table per score, written by dvclive."""
    return live(stage) / "plots/metrics"
