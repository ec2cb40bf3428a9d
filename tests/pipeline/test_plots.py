"""`dvc plots show` without a network: the page of .dvc/plots draws each kind of plot that DVC gives it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from browser import chromium
from project_copy import ROOT, run
from ruamel.yaml import YAML


def test_no_title_has_an_apostrophe():
    """DVC writes titles into the page's script as strings between apostrophes."""
    for plot in YAML(typ="safe").load(ROOT / "dvc.yaml")["plots"]:
        assert not isinstance(plot, dict) or "'" not in next(iter(plot))


@pytest.mark.skipif(chromium() is None, reason="no chromium: `apt install chromium`")
def test_every_plot_is_drawn_without_a_network(tmp_path):
    plots = YAML(typ="safe").load(ROOT / "dvc.yaml")["plots"]
    run(tmp_path, "git", "init", "--quiet")
    run(tmp_path, "dvc", "init", "--quiet")
    shutil.copytree(ROOT / ".dvc/plots", tmp_path / ".dvc/plots")
    shutil.copy(ROOT / ".dvc/config", tmp_path / ".dvc/config")
    charts = [next(iter(plot.items())) for plot in plots if isinstance(plot, dict)]
    (tmp_path / "dvc.yaml").write_text(json.dumps({"plots": [{title: of} for title, of in charts]}))
    files: dict[str, set] = {}
    for _, of in charts:
        for name, fields in of["y"].items():
            files.setdefault(name, {of["x"]}).update([fields] if isinstance(fields, str) else fields)
    for name, fields in files.items():
        path, mark = tmp_path / name, "\t" if name.endswith("tsv") else ","
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [mark.join(sorted(fields)), *(mark.join(f"{n}.5" for _ in fields) for n in range(3))]
        path.write_text("\n".join(rows) + "\n")
    run(tmp_path, "dvc", "plots", "show", "--out", "page")
    page = tmp_path / "page/index.html"
    assert "cdn" not in page.read_text() and "src=" not in page.read_text()
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [chromium(), "--headless", "--no-sandbox", "--dump-dom", profile, page.as_uri()]
    drawn = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    for title, _ in charts:
        assert f"<h2>{title}</h2>" in drawn
    lines = [of["y"] for _, of in charts if of.get("template") != "bar_horizontal"]
    curves = sum(
        1 if isinstance(fields, str) else len(fields) for files in lines for fields in files.values()
    )
    assert drawn.count("<polyline") == curves
    assert drawn.count("<rect") == 3
    assert "dev loss" in drawn and "NaN" not in drawn


def test_make_alone_lists_the_targets_and_starts_nothing():
    output = run(Path(ROOT), "make")
    assert output == run(Path(ROOT), "make", "help")
    targets = [line.split()[1] for line in output.splitlines()]
    assert {"repro", "experiments", "test", "preset", "clean"} <= set(targets)
    assert "dvc repro" not in run(Path(ROOT), "make", "--dry-run")
