"""Runs the README's section Experiments command by command in a clone with tiny settings."""

import json
import re
import subprocess

import pytest
from project_copy import ENV, ROOT, copy_project, ran, run
from ruamel.yaml import YAML

BASELINE = "git commit -m baseline metrics.json dvc.lock params.yaml"
DECODER = ["train_clipcap", "generate@clipcap", "evaluate"]


def readme_commands() -> list[str]:
    section = (
        (ROOT / "README.md")
        .read_text(encoding="utf-8")
        .partition("\n## Experiments\n")[2]
        .partition("\n## ")[0]
    )
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", section, re.S)).splitlines()
    return [line.split("  #")[0].strip() for line in lines if line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A commit of the project with tiny settings, with the scores and the lock of another machine's run."""
    return copy_project(tmp_path_factory.mktemp("walk") / "clone")


def test_the_readme_walk_does_what_it_says(folder):
    commands = readme_commands()
    expected = ["make repro", BASELINE, "dvc exp run -n", "dvc metrics diff",
                "python -m commands.compare HEAD", "git checkout", "dvc exp run --queue",
                "dvc exp run --run-all", "make experiments", "dvc plots show", "dvc exp apply",
                "git commit -m"]  # fmt: skip
    assert len(commands) == len(expected)
    assert all(command.startswith(start) for command, start in zip(commands, expected, strict=True)), commands
    stamp = folder.parent / "ready"
    stamp.touch()  # the environment is the one of this test
    environment = ENV | {"MAKEFLAGS": f"READY={stamp}", "COLUMNS": "80"}
    todo = iter(commands)

    def typed() -> str:
        command = next(todo).replace("=5,15,30", "=5,30")  # one experiment fewer
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def prefix() -> int:
        return YAML(typ="safe").load(folder / "params.yaml")["model"]["prefix_len"]

    def clipcap() -> dict:
        return json.loads((folder / "metrics.json").read_text())["clipcap"]

    refusal = run(folder, "python", "-m", "commands.compare", "HEAD", fails=True)
    assert "are not here: its results" in refusal
    first = typed()
    assert "ClipCap - LSTM:" in first and "Open results/report.html" in first
    assert first.rstrip().endswith(BASELINE) and "compare with the scores in HEAD" in first
    refusal = run(folder, "python", "-m", "commands.compare", "HEAD", fails=True)
    assert "are not here: its results" in refusal and BASELINE in refusal
    shown = run(folder, "make", f"READY={stamp}", "experiments")
    assert shown.startswith("warning: `dvc metrics diff` and experiments")
    typed()
    assert run(folder, "python", "-m", "commands.summary", "--baseline") == ""
    assert run(folder, "git", "status", "--porcelain") == ""
    lock, before = (folder / "dvc.lock").read_text(), clipcap()

    assert [name for name in ran(typed()) if not name.startswith(("report", "cards"))] == DECODER
    assert prefix() == 20
    diff = typed()
    assert "clipcap.cider" in diff and "lstm." not in diff
    compared = typed()
    assert "settings that differ: model.prefix_len 4 -> 20" in compared and "warning" not in compared
    assert "To go back:" in run(folder, "python", "-m", "commands.summary")

    typed()
    assert prefix() == 4 and (folder / "dvc.lock").read_text() == lock and clipcap() == before
    assert ran(run(folder, "dvc", "repro")) == []

    assert "Queued" in typed()
    typed()
    assert prefix() == 4
    shown = typed().splitlines()
    assert max(map(len, shown)) <= 80 and "warning" not in shown[0]
    [heads] = [line.split() for line in shown if "Experiment" in line]
    assert heads == ["Experiment", "clipcap.cider", "model.prefix_len"]
    values = [line.split()[-1] for line in shown if re.search(r"[0-9a-f]{7} \[|─", line)]
    assert {"5", "20", "30"} <= set(values)
    assert "index.html" in typed()
    page = (folder / "dvc_plots/index.html").read_text()
    assert "https://cdn" not in page and "function vegaEmbed" in page

    typed()
    assert prefix() == 20
    typed()
    assert run(folder, "git", "status", "--porcelain") == ""
    assert ran(run(folder, "dvc", "repro")) == []
