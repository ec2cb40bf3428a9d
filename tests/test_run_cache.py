"""Going back to settings that were run before costs nothing, and nothing but results lies in an output. Real `dvc`."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from test_pipeline import ENV, ROOT, TINY, lay, ran, run


def cached(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if "is cached - skipping run" in line]


def files(folder: Path) -> dict[str, bytes]:
    outputs = [path for name in ("features", "checkpoints") for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in outputs}


def change(folder: Path, **groups) -> None:
    yaml = YAML()
    values = yaml.load(folder / "params.yaml")
    lay(values, groups)
    yaml.dump(values, folder / "params.yaml")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    names = run(ROOT, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    change(folder, **TINY)
    run(folder, "git", "init", "--quiet")
    run(folder, "dvc", "repro", "train_lstm")
    return folder


def test_the_way_back_is_cached_and_a_killed_run_ends_with_the_same_bytes(project):
    first = files(project)
    assert not [
        name for name in first if Path(name).name.startswith((".", "resume")) or name.endswith((".tmp", ".lock"))
    ]
    change(project, train_lstm={"lr": 0.001, "epochs": 8}, extract_vgg16={"precision": "fp32"})
    process = subprocess.Popen(
        ["dvc", "repro", "train_lstm"], cwd=project, env=ENV, start_new_session=True, stdout=subprocess.DEVNULL
    )
    while process.poll() is None and not list(project.glob(".work/states/*/resume.pt")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (project / ".dvc/tmp/rwlock").unlink(missing_ok=True)
    output = run(project, "dvc", "repro", "train_lstm")
    assert "train_lstm" in ran(output) and "resumed from" in output
    killed = files(project)
    assert killed.keys() == first.keys() and killed != first and not list(project.glob(".work/states/*"))
    run(project, "dvc", "repro", "--force", "--single-item", "train_lstm")
    assert files(project) == killed
    change(project, **TINY, extract_vgg16={"precision": "auto"}, train_lstm={"lr": 0.002, "epochs": 1})
    output = run(project, "dvc", "repro", "train_lstm")
    assert ran(output) == [] and "train_lstm" in cached(output)
    assert files(project) == first


def test_other_bytes_under_the_same_name_are_another_input(project):
    before = files(project)
    ids = pd.read_csv(project / "data/images.csv", dtype=str).id.tolist()
    features = np.random.default_rng(0).normal(size=(len(ids), 5)).astype(np.float32)
    np.savez(project / "mine.npz", ids=ids, features=features)
    change(project, vgg16={"features": "mine.npz"})
    assert "extract_vgg16" in ran(run(project, "dvc", "repro", "extract_vgg16"))
    one = files(project)["features/vgg16.h5"]
    np.savez(project / "mine.npz", ids=ids, features=features + 1)
    assert ran(run(project, "dvc", "repro", "extract_vgg16")) == ["inputs", "extract_vgg16"]
    assert files(project)["features/vgg16.h5"] != one
    np.savez(project / "mine.npz", ids=ids, features=features)
    assert cached(run(project, "dvc", "repro", "extract_vgg16")) == ["extract_vgg16"]
    assert files(project)["features/vgg16.h5"] == one
    assert "up to date" in run(project, "dvc", "status", "extract_vgg16")
    change(project, vgg16={"features": "features/vgg16.h5"})
    assert "lies in an output of the pipeline" in run(project, "dvc", "repro", "extract_vgg16", fails=True)
    change(project, vgg16={"features": None})
    run(project, "dvc", "repro", "train_lstm")
    assert files(project) == before
