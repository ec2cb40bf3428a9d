"""Earlier settings run again from the cache, and outputs hold nothing but results. With real `dvc`."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from project_copy import ENV, PROGRAMS, ROOT, change, copy_project, ran, run

from captioning.core.files import atomic_write, remove_stale_temporaries
from captioning.core.work import work_folder


def cached(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if "is cached - skipping run" in line]


def files(folder: Path) -> dict[str, bytes]:
    outputs = [
        path for name in ("features", "checkpoints") for path in (folder / name).rglob("*") if path.is_file()
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in outputs}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = copy_project(tmp_path_factory.mktemp("project"), "dvc.lock")
    run(folder, "dvc", "repro", "train_lstm")
    return folder


def test_the_way_back_is_cached_and_a_killed_run_ends_with_the_same_bytes(project):
    first = files(project)
    assert not [
        name
        for name in first
        if Path(name).name.startswith((".", "resume")) or name.endswith((".tmp", ".lock"))
    ]
    change(project, train_lstm={"lr": 0.001, "epochs": 8}, extract_vgg16={"precision": "fp32"})
    process = subprocess.Popen(
        ["dvc", "repro", "train_lstm"],
        cwd=project,
        env=ENV | {"PATH": PROGRAMS},  # new processes, which the signal reaches
        start_new_session=True,
        stdout=subprocess.DEVNULL,
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
    change(project, extract_vgg16={"precision": "auto"}, train_lstm={"lr": 0.002, "epochs": 1})
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


def test_a_file_more_in_a_folder_that_a_setting_names_is_another_input(project, tmp_path):
    before, folder = files(project), tmp_path / "mine"
    shutil.copytree(project / "checkpoints/vgg16", folder)
    change(project, vgg16={"weights": str(folder)}, finetune_vgg16={"epochs": 0})
    assert ran(run(project, "dvc", "repro", "finetune_vgg16")) == ["inputs", "finetune_vgg16"]
    own = files(project)["checkpoints/vgg16/model.safetensors"]
    assert own == before["checkpoints/vgg16/model.safetensors"]
    assert "up to date" in run(project, "dvc", "status", "finetune_vgg16")
    (folder / "more").mkdir()
    (folder / "more/notes.txt").write_text("new")
    assert ran(run(project, "dvc", "repro", "finetune_vgg16")) == ["finetune_vgg16"]
    shutil.rmtree(folder / "more")
    assert cached(run(project, "dvc", "repro", "finetune_vgg16")) == ["finetune_vgg16"]
    run(project, "dvc", "repro", "--force", "--single-item", "inputs")
    assert (folder / "model.safetensors").read_bytes() == own, "what a link leads to is nobody's to remove"
    (folder / "nowhere").symlink_to(tmp_path / "absent")
    assert "nowhere is neither a file nor a folder" in run(
        project, "dvc", "repro", "--force", "inputs", fails=True
    )
    change(project, vgg16={"weights": "scratch"}, finetune_vgg16={"epochs": 1})
    assert ran(run(project, "dvc", "repro", "finetune_vgg16")) == ["inputs"]
    assert files(project) == before


def test_copies_of_the_project_that_dvc_makes_share_its_working_folder(tmp_path, monkeypatch):
    for copy in (".dvc/tmp/exps/tmp1", ".dvc/tmp/exps/standalone/tmp2"):
        (tmp_path / copy).mkdir(parents=True)
        monkeypatch.chdir(tmp_path / copy)
        assert work_folder() == tmp_path / ".work"
    monkeypatch.chdir(tmp_path)
    assert work_folder().absolute() == tmp_path / ".work"
    monkeypatch.setenv("CAPTIONING_WORK", "/elsewhere")
    assert work_folder() == Path("/elsewhere")


WRITER = """
import os, signal, sys
from captioning.core.files import all_at_once, atomic_write, write_json
with all_at_once("out", "metrics.json") as folder, atomic_write("out/result.txt") as file:
    write_json(folder / "metrics.json", {})
    file.write("half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_nothing_in_the_output_and_the_next_one_clears_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    killed = subprocess.run([sys.executable, "-c", WRITER], env=ENV | {"PYTHONPATH": str(ROOT)})
    assert killed.returncode == -signal.SIGKILL
    assert list(Path("out").iterdir()) == [] and len(list(Path(".work/tmp").iterdir())) == 2
    with atomic_write("out/result.txt") as file:
        file.write("whole")
    assert Path("out/result.txt").read_text() == "whole"
    assert [path.name for path in Path("out").iterdir()] == ["result.txt"]
    [left] = Path(".work/tmp").iterdir()  # files that should have appeared all at once
    with atomic_write("elsewhere") as file:
        remove_stale_temporaries()
        file.write("whole")
    assert (
        not left.exists()
        and Path("elsewhere").read_text() == "whole"
        and list(Path(".work/tmp").iterdir()) == []
    )
