"""Captioners on the Hugging Face hub.

`commands.export --push` uploads a captioner, and `load_captioner` downloads it by USER/NAME.
"""

from __future__ import annotations

from pathlib import Path

from captioning.core.errors import UserError, in_a_line
from captioning.core.paths import CHECKPOINTS
from captioning.weights.sources import REPOSITORY, check_online

# The only files that are downloaded. None can run code.
FILES = ("*config.json", "tokenizer.json", "*model.safetensors", "consensus.json", "consensus.safetensors")


def found(model: str | Path) -> Path:
    """The folder that `model` names: a local folder, or USER/NAME on the hub, downloaded into its cache.

    Without a network, it uses the cache. Raises UserError if the captioner is not there.
    """
    path, name = Path(model).expanduser(), str(model)
    if path.parent.is_dir() or path.parent == CHECKPOINTS or not REPOSITORY.fullmatch(name):
        return path
    from huggingface_hub import snapshot_download

    try:
        check_online()
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except Exception as error:  # errors of the hub, of its network library, of the system
        fault = in_a_line(error)
    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES), local_files_only=True))
    except Exception:
        raise UserError(
            f"{name} is not a folder here ({path.absolute()}), and cannot be downloaded from the hub: {fault}"
        ) from None
