"""Before a stage or a command works: it imports no more than it needs, and checks its settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from forked import python_m

ROOT = Path(__file__).parents[2]
SLOW = ("torch", "transformers", "pandas", "sklearn", "h5py", "matplotlib", "torchvision")  # to import
NETWORKS = {"finetune_vgg16", "finetune_clip", "extract_vgg16", "extract_clip", "train_lstm", "train_clipcap",
            "generate", "evaluate"}  # fmt: skip
STAGES = {path.stem for path in (ROOT / "stages").glob("[!_]*.py")}
COMMANDS = {path.stem for path in (ROOT / "commands").glob("[!_]*.py")}


def imported(*modules: str) -> set[str]:
    """The slow libraries that importing our modules imports."""
    code = f"import sys, {', '.join(modules)}\nprint(*[name for name in {SLOW!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "stages, allowed",
    [(STAGES - NETWORKS, set()), (NETWORKS, {"torch", "h5py", "pandas"})],
    ids=["tables", "networks"],
)
def test_stages_start_with_no_more_than_they_need(stages, allowed):
    assert imported(*(f"stages.{name}" for name in sorted(stages))) <= allowed


def test_help_and_a_mistyped_argument_wait_for_no_library():
    assert imported(*(f"commands.{name}" for name in sorted(COMMANDS)), "app.__main__") == set()


@pytest.mark.parametrize("stage", ["prepare", "train_clipcap", "evaluate"])
def test_a_stage_stops_before_any_work(tmp_path, stage):
    text = (ROOT / "params.yaml").read_text()
    assert text.count("  prefix_len: ") == 1
    (tmp_path / "params.yaml").write_text(text.replace("  prefix_len: ", "  prefx_len: "))
    done = python_m(tmp_path, f"stages.{stage}")
    assert done.returncode == 1
    assert "did you mean model.prefix_len?" in done.stderr and "Traceback" not in done.stderr
    assert "\n`git diff params.yaml` shows what differs from HEAD. Mend the line; " in done.stderr
    assert done.stderr.endswith("discards every uncommitted change, a preset's too\n")
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
