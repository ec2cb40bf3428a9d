"""Stage code: what code each stage runs, so that DVC runs a stage again when its code changes, and only then.

Reads   captioning/, models/, scenes/, stages/.
Writes  code/STAGE.txt for each stage: a line a file that it imports, with a hash in which comments and docstrings do
        not count. A few modules that decide no result are left out: see captioning/core/code.py.
Expect  half a second. `dvc repro -s STAGE` skips this stage, and so does not notice changed code.
"""

from __future__ import annotations

from pathlib import Path

from captioning.core.code import describe
from captioning.core.files import atomic_write
from captioning.core.paths import CODE
from stages import stage


@stage
def main() -> None:
    names = sorted(path.stem for path in Path("stages").glob("*.py") if path.stem not in ("__init__", "code"))
    for name in names:
        with atomic_write(CODE / f"{name}.txt") as file:
            file.write(describe(f"stages.{name}"))
    print(f"wrote {CODE}/: the code of {len(names)} stages")


if __name__ == "__main__":
    main()
