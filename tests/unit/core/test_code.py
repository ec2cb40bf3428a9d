"""Hashes of code: comments and docstrings do not count, everything else does."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import pytest

from captioning.core.code import DECIDE_NOTHING, closure, describe, hash_source

ROOT = Path(__file__).parents[3]
SOURCE = '''"""What it is for."""

RATE = 0.5  # a share


def double(x):
    """Twice as much.

    More of it.
    """
    # the plain way
    text = """a # no comment

    line   """
    return 2 * x, text, "é"  # done
'''


@pytest.mark.parametrize(
    "old, new",
    [
        ('"""What it is for."""', '"""Something else, with a # in it."""'),
        ("  # a share", ""),
        ("# the plain way\n", "# another\n    # and one more\n\n"),
        ("Twice as much.\n\n    More of it.\n    ", "Two x."),
        ("def double", "\n\n\n\ndef double"),
        ("# done", "# é ∂ done"),
        ("RATE = 0.5  #", "RATE = 0.5      #"),
    ],
)
def test_what_decides_no_result_does_not_count(old, new):
    assert old in SOURCE and hash_source(SOURCE.replace(old, new)) == hash_source(SOURCE)


@pytest.mark.parametrize(
    "old, new",
    [
        ("RATE = 0.5", "RATE = 0.25"),
        ("a # no comment", "a # no"),
        ("a # no comment\n\n", "a # no comment\n"),
        ("line   ", "line "),
        ("    text = ", "    text, more = "),
        ("2 * x", "3 * x"),
        ('"é"', '"e"'),
        ("    return", "    if x:\n        return"),
    ],
)
def test_what_may_decide_a_result_counts(old, new):
    assert old in SOURCE and hash_source(SOURCE.replace(old, new)) != hash_source(SOURCE)


def test_a_docstring_is_cut_wherever_it_begins():
    assert hash_source('def f(): "one"; return 1\n') == hash_source('def f(): "two"; return 1\n')
    assert hash_source("x = 1\n'one'\n") != hash_source("x = 1\n'two'\n")  # not first, so not a docstring


@pytest.fixture
def house(tmp_path):
    for package in ("captioning", "models", "scenes", "stages"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@cache
def described(stage: str) -> str:
    return describe(f"stages.{stage}", ROOT)


def changed_by(house: Path, file: str, old: str, new: str) -> set[str]:
    """The stages whose code counts as changed after an edit."""
    names = sorted(
        path.stem for path in (house / "stages").glob("*.py") if path.stem not in ("__init__", "code")
    )
    text = (house / file).read_text()
    assert old in text
    (house / file).write_text(text.replace(old, new, 1))
    return {name for name in names if describe(f"stages.{name}", house) != described(name)}


def test_a_comment_makes_no_stage_run_again(house):
    for file in (
        "captioning/core/errors.py",
        "captioning/training/loop.py",
        "models/vgg16.py",
        "stages/report.py",
    ):
        assert changed_by(house, file, "\nfrom ", "\n# a remark\nfrom ") == set()


@pytest.mark.parametrize("name", DECIDE_NOTHING)
def test_code_that_decides_no_result_makes_no_stage_run_again(house, name):
    file, line = f"captioning/core/{name}.py", "from __future__ import annotations\n"
    assert changed_by(house, file, line, line + "\nANOTHER = 1\n") == set()


@pytest.mark.parametrize(
    "file, stages",
    [
        ("models/losses.py", {"train_lstm", "train_clipcap", "generate"}),
        ("models/lstm.py", {"train_lstm", "generate"}),
        ("models/clipcap.py", {"train_clipcap", "generate"}),
        ("models/vgg16.py", {"finetune_vgg16", "finetune_clip", "extract_vgg16", "extract_clip", "evaluate"}),
        ("captioning/search/beam.py", {"generate"}),
        ("captioning/evaluation/report/page/gallery.js", {"report"}),
        ("scenes/drawing/pen.py", {"prepare"}),
    ],
)
def test_an_edit_makes_the_stages_run_again_that_it_can_change(house, file, stages):
    old = (house / file).read_text().rstrip("\n").rsplit("\n", 1)[-1]
    assert changed_by(house, file, old, old + "\nANOTHER = 1") == stages


def test_late_imports_and_a_page_s_files_are_followed():
    report = {path.relative_to(ROOT).as_posix() for path in closure("stages.report", ROOT)}
    assert {
        "captioning/evaluation/report/page/template.html",
        "captioning/evaluation/report/__init__.py",
    } <= report
    assert not any("__pycache__" in path for path in report)
