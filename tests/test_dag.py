"""dvc.yaml says exactly what each stage depends on: neither a file of code too few nor one too many."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from captioning.core import settings

ROOT = Path(__file__).parent.parent
PACKAGES = ("stages", "captioning", "models", "app", "benchmarks", "scenes", "commands")
DAG = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())


def files_of(module: str) -> list[Path]:
    """The files that `import module` runs: the module's own, and the `__init__.py` of each package above it."""
    parts = module.split(".")
    files = [ROOT.joinpath(*parts[:i], "__init__.py") for i in range(1, len(parts) + 1)]
    return [file for file in [*files, ROOT.joinpath(*parts).with_suffix(".py")] if file.is_file()]


def imports(file: Path) -> set[Path]:
    """Our own files that a file imports, wherever in it the import stands."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found.update(path for name in names if name.split(".")[0] in PACKAGES for path in files_of(name))
    return found


def closure(module: str) -> set[str]:
    seen: set[Path] = set()
    queue = files_of(module)
    while queue:
        file = queue.pop()
        if file not in seen:
            seen.add(file)
            queue += imports(file)
    return {str(file.relative_to(ROOT)) for file in seen}


def stage(name: str) -> dict:
    entry = DAG["stages"][name]
    return entry.get("do", entry)


@pytest.mark.parametrize("name", DAG["stages"])
def test_code_dependencies_are_the_import_closure(name):
    module = stage(name)["cmd"].split()[2]
    listed = [dep for dep in stage(name)["deps"] if dep.endswith(".py")]
    assert sorted(listed) == sorted(closure(module)), f"dvc.yaml, stage {name}: the deps should be\n" + "\n".join(
        f"      - {path}" for path in sorted(closure(module))
    )


@pytest.mark.parametrize("name", DAG["stages"])
def test_stage_bears_its_file_s_name_and_known_params(name):
    assert stage(name)["cmd"].split()[:3] == ["python", "-m", f"stages.{name}"]
    known = settings.known_keys()
    for key in stage(name).get("params", []):
        assert any(k == key or k.startswith(f"{key}.") for k in known), f"{name}: no such setting {key}"


def test_every_setting_matters_to_a_stage():
    """A setting that no stage lists would be changed without effect. How many processes work is no such setting."""
    listed = [key for name in DAG["stages"] for key in stage(name).get("params", [])]
    for key in settings.known_keys():
        matters = any(key == one or key.startswith(f"{one}.") for one in listed)
        assert matters != key.endswith("workers"), key


@pytest.mark.parametrize("package,allowed", [("models", {"models"}), ("captioning", {"models", "captioning", "scenes"})])
def test_imports_run_one_way(package, allowed):
    for file in (ROOT / package).rglob("*.py"):
        used = {path.relative_to(ROOT).parts[0] for path in imports(file)}
        assert used <= allowed, f"{file.relative_to(ROOT)} imports {used - allowed}"
