"""A copy of the project with tiny networks and 60 scenes, in which tests run real `dvc` and `git`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
TINY = {
    "machine": {"workers": 1},
    "data": {"scenes": {"images": 60, "size": 64}},
    "vgg16": {"image_size": 32, "scratch": {"width": 0.05}},
    "finetune_vgg16": {"epochs": 1, "labels": 20},
    "clip": {
        "scratch": {"image_size": 32, "vision_width": 8, "embed_dim": 32, "text_width": 64, "text_layers": 1}
    },
    "finetune_clip": {"epochs": 1},
    "lstm": {"embed_dim": 32, "hidden_size": 32},
    "train_lstm": {"epochs": 1},
    "model": {"prefix_len": 4, "scratch": {"vocab_size": 400, "layers": 1, "heads": 2, "width": 32}},
    "train_clipcap": {"epochs": 1},
    "generate": {"beam_size": 2, "max_tokens": 12},
    "evaluate": {"bootstrap": 100},
}
PROGRAMS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
# `make test` sets them; a make that these tests start is not its child.
MAKE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
ENV = {name: value for name, value in os.environ.items() if name not in MAKE} | {
    "PATH": PROGRAMS,
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{
        f"GIT_{who}_{what}": "test@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
}


def lay(values: dict, overlay: dict) -> None:
    for key, value in overlay.items():
        if isinstance(value, dict):
            lay(values[key], value)
        else:
            values[key] = value


def run(folder: Path, *command: str, fails: bool = False) -> str:
    done = subprocess.run(command, cwd=folder, env=ENV, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def ran(output: str) -> list[str]:
    """The stages that DVC ran, in order."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")]


def commit(folder: Path, message: str) -> None:
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", message)


def change(folder: Path, **groups) -> None:
    """Changes some settings in a copy's params.yaml and keeps its comments."""
    yaml = YAML()
    values = yaml.load(folder / "params.yaml")
    lay(values, groups)
    yaml.dump(values, folder / "params.yaml")


def copy_project(folder: Path, *without: str) -> Path:
    """Copies the project, uncommitted files included, as a repository of one commit with settings `TINY`.

    Args:
        folder: the function creates it.
        without: files that are not copied, such as the dvc.lock of another run.
    """
    names = run(ROOT, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file() and name not in without:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    change(folder, **TINY)
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    commit(folder, "the project, before any run")
    return folder
