"""dvc.yaml: what each stage depends on; and which room of captioning/ may import which."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from captioning.core import settings
from captioning.core.code import PACKAGES, closure, imported

ROOT = Path(__file__).parents[2]
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
WITH_CODE = [name for name in STAGES if name != "code"]

ROOMS = ("core", "weights", "data", "features", "decoders", "metrics", "search", "training", "evaluation")
APART = ("data", "features", "decoders")  # none of them imports another
ABOVE = {  # what a package may import beside itself
    "models": set(),
    "scenes": set(),
    "captioning": {"models", "scenes"},
    "stages": {"captioning", "models", "scenes"},
    "commands": {"captioning", "models", "scenes", "app"},
    "app": {"captioning", "models"},
}


def stage(name: str) -> dict:
    return STAGES[name].get("do", STAGES[name])


@pytest.mark.parametrize("name", WITH_CODE)
def test_a_stage_depends_on_its_own_code_and_known_settings(name):
    assert stage(name)["cmd"].split()[:3] == ["python", "-m", f"stages.{name}"]
    assert stage(name)["deps"][0] == f"code/{name}.txt"
    known = settings.known_keys()
    for key in stage(name).get("params", []):
        assert any(k == key or k.startswith(f"{key}.") for k in known), f"{name}: no such setting {key}"


def test_code_watches_all_that_stages_import():
    watched = set(stage("code")["deps"])
    for name in WITH_CODE:
        assert {path.relative_to(ROOT).parts[0] for path in closure(f"stages.{name}", ROOT)} <= watched


def test_every_setting_matters_to_a_stage_but_those_of_the_machine():
    listed = [key for name in STAGES for key in stage(name).get("params", [])]
    for key in settings.known_keys():
        matters = any(key == one or key.startswith(f"{one}.") for one in listed)
        assert matters != key.startswith("machine."), key


def modules(package: str) -> list[tuple[Path, list[str]]]:
    paths = sorted((ROOT / package).rglob("*.py"))
    assert paths
    return [(path, imported(path.read_text())) for path in paths]


@pytest.mark.parametrize("package", ABOVE)
def test_packages_import_one_way(package):
    assert package in PACKAGES
    for path, names in modules(package):
        used = {name.split(".")[0] for name in names} - {package}
        assert used <= ABOVE[package], f"{path.relative_to(ROOT)} imports {used - ABOVE[package]}"


def test_rooms_import_those_before_them_only():
    for path, names in modules("captioning"):
        room = path.relative_to(ROOT / "captioning").parts[0]
        if room == "__init__.py":
            continue
        assert room in ROOMS, f"{path.relative_to(ROOT)} lies in no room"
        for used in {name.split(".")[1] for name in names if name.startswith("captioning.")} - {room}:
            assert ROOMS.index(used) < ROOMS.index(room), f"{path.relative_to(ROOT)} imports {used}"
            assert not {used, room} <= set(APART), f"{path.relative_to(ROOT)} imports {used}"
