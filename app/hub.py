"""Captioners on the Hugging Face hub: `commands.export --push` uploads them, `load_captioner` takes USER/NAME."""

from __future__ import annotations

import re
from pathlib import Path

from captioning.core.errors import UserError, in_a_line
from captioning.core.paths import CHECKPOINTS
from captioning.weights.sources import reach

# All that is downloaded: nothing that could run code, whatever else a repository holds.
FILES = ("*config.json", "tokenizer.json", "*model.safetensors", "consensus.json", "consensus.safetensors")


def found(model: str | Path) -> Path:
    """The folder that `model` names: itself, or USER/NAME of the hub, downloaded into that library's cache.

    Without a network it is what the cache has. Raises UserError when that is nothing.
    """
    path, name = Path(model).expanduser(), str(model)
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) or path.parent.is_dir() or path.parent == CHECKPOINTS:
        return path
    from huggingface_hub import snapshot_download

    try:
        online()
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except Exception as error:  # of the hub, of its network library, of the system
        fault = in_a_line(error)
    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES), local_files_only=True))
    except Exception:
        raise UserError(
            f"{name} is no folder here ({path.absolute()}), and no captioner of that name can be downloaded: {fault}"
        ) from None


def online() -> None:
    """Raises OSError where the hub does not answer soon; its own code would try for minutes."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise OSError("HF_HUB_OFFLINE is set")
    reach(constants.ENDPOINT)
