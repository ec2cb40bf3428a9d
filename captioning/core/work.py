"""The project's working folder: what runs resume from, share and write on the way. It is part of no stage's output.

    rows/    features computed so far, which outlive the stages (captioning.features.rows)
    states/  of training, until its stage is over (captioning.training.loop)
    tmp/     files that are being written
    locks/   one a file or folder that only one process may write

DVC's queued and temporary runs work in copies of the project below `.dvc/tmp/exps`; they share the folder of the
project that they are copies of. `make clean` removes it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def work_folder() -> Path:
    """`.work` in the project's folder, or what the environment variable CAPTIONING_WORK names."""
    if named := os.environ.get("CAPTIONING_WORK"):
        return Path(named)
    home = project_folder()
    return Path(".work") if home == Path.cwd() else home / ".work"


def project_folder() -> Path:
    """The current folder, or the project that it is DVC's copy of."""
    copied = (folder for folder in Path.cwd().parents if folder.parts[-3:] == (".dvc", "tmp", "exps"))
    return next((folder.parents[2] for folder in copied), Path.cwd())


def beside(kind: str, path: str | Path) -> Path:
    """Where in the working folder's part `kind` something that belongs to `path` lies: equal paths, equal place."""
    path = Path(path).absolute()
    folder = work_folder() / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{path.name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}"
