"""What `make repro` says of a run beside HEAD's."""

import subprocess

import pytest

from commands.compare import RUN
from commands.summary import changed


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ([], None),
        (["dvc.lock"], "in dvc.lock; the scores are equal."),
        (["metrics.json", "dvc.lock"], "in metrics.json, dvc.lock; `dvc metrics diff` shows what changed."),
    ],
)
def test_what_differs_from_head_is_named(files, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in RUN:
        (tmp_path / name).write_text("1")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "a run"]):
        subprocess.run(["git", *words], check=True)
    for name in files:
        (tmp_path / name).write_text("2")
    lines = changed()
    assert (lines[0].endswith(told) and "To go back:" in lines[2]) if told else lines == []
