"""`python -m commands.preset NAME`: rewrites params.yaml for another data set and keeps its comments.

A preset is an overlay and changes only the keys that it names. `scenes` is applied first. It names every key
that any other preset names, so no value of an earlier preset remains. Settings that no preset names do not
change.
"""

from __future__ import annotations

import argparse
import difflib
from pathlib import Path

from ruamel.yaml import YAML

from captioning.core import settings
from captioning.core.errors import UserError, command
from captioning.core.files import atomic_write
from captioning.core.yaml_files import read_yaml

BASE = "scenes"


def names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def apply(name: str, params: Path = Path("params.yaml"), folder: Path = Path("presets")) -> list[str]:
    """Writes the preset into `params`. Returns the dotted keys whose value changed."""
    if name not in names(folder):
        near = difflib.get_close_matches(name, names(folder), 1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names(folder))}"
        raise UserError(f"no preset {name!r} in {folder}/; {hint}")
    yaml = YAML()  # keeps comments and order
    yaml.preserve_quotes, yaml.width = True, 120
    yaml.representer.add_representer(
        type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    read_yaml(params)  # raises UserError if the file is not YAML
    values = yaml.load(params.read_text(encoding="utf-8"))
    changed: dict[str, tuple] = {}
    for overlay in dict.fromkeys([BASE, name]):
        _lay(values, read_yaml(folder / f"{overlay}.yaml"), "", changed)
    settings.check(values, f"{params} with preset {name}")
    with atomic_write(params) as file:
        yaml.dump(values, file)
    return [key for key, (before, after) in changed.items() if before != after]


def _lay(values: dict, overlay: dict, prefix: str, changed: dict[str, tuple]) -> None:
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            _lay(values[key], value, f"{prefix}{key}.", changed)
        else:
            before = changed.get(prefix + key, (values.get(key),))[0]
            changed[prefix + key] = (before, value)
            if key not in values or values[key] != value:  # an unchanged value keeps its spelling
                values[key] = value


@command
def main() -> None:
    known = ", ".join(names(Path("presets")))
    parser = argparse.ArgumentParser(prog="python -m commands.preset", description=__doc__.split("\n")[0])
    parser.add_argument("name", nargs="?", help=f"a file of presets/ without its ending: {known}")
    name = parser.parse_args().name
    if not name:
        raise UserError(f"give a preset: make preset NAME=one of {known}")
    changed = apply(name)
    print(f"params.yaml is now {name}: {len(changed)} settings changed")
    for key in changed:
        print(f"  {key}")


if __name__ == "__main__":
    main()
