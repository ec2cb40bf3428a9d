"""Stage code: records what code each stage runs, so that DVC reruns a stage only when its code changes.

Reads   captioning/, models/, scenes/, stages/.
Writes  code/STAGE.txt for each stage: one line per file that it imports, with a hash that ignores comments
        and docstrings. A few modules that affect no result are left out: see captioning/core/code.py.
Expect  half a second. `dvc repro -s STAGE` skips this stage, so it does not notice changed code.
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
