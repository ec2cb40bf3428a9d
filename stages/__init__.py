"""One short file a stage of dvc.yaml. Each is run as `python -m stages.NAME` and calls `captioning` and `models`."""

from pathlib import Path


def folder_of(name: str) -> Path:
    """The checkpoint folder of a network: vgg16, clip, lstm or clipcap."""
    return Path("checkpoints") / name
