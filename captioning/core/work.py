"""The project's working folder: states to resume from, shared rows, temporary files.

It is not a stage's output.

    rows/    features computed so far, which outlive the stages (captioning.features.rows)
    states/  training states, until their stage is over (captioning.training.loop)
    tmp/     files that are being written
    locks/   one for each file or folder that only one process may write at a time

DVC's queued and temporary runs work in copies of the project below `.dvc/tmp/exps`; they share the original
project's folder. `make clean` removes it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from captioning.core.paths import PARAMS

NAMED = "CAPTIONING_WORK"  # the variable of the environment that names another working folder


def work_folder() -> Path:
    """Returns `.work` in the project's folder, or the folder that the variable CAPTIONING_WORK names."""
    if named := os.environ.get(NAMED):
        return Path(named)
    home = project_folder()
    return Path(".work") if home == Path.cwd() else home / ".work"


def temporary_folder() -> Path | None:
    """Makes and returns the working folder's part for temporary files. None outside a project."""
    folder = work_folder()
    if not (folder.is_dir() or PARAMS.is_file() or os.environ.get(NAMED)):
        return None
    (folder := folder / "tmp").mkdir(parents=True, exist_ok=True)
    return folder


def project_folder() -> Path:
    """Returns the current folder, or the original project if this is a DVC copy of it."""
    copied = (folder for folder in Path.cwd().parents if folder.parts[-3:] == (".dvc", "tmp", "exps"))
    return next((folder.parents[2] for folder in copied), Path.cwd())


def beside(kind: str, path: str | Path) -> Path:
    """Returns the place for something that belongs to `path` in the working folder's part `kind`.

    Equal paths give equal places.
    """
    path = Path(path).absolute()
    folder = work_folder() / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{path.name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}"
