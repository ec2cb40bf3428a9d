"""Calls SPICE's classes without the parts that a current Java refuses. `captioning.metrics.spice` runs this.

    python -m captioning.metrics.spice_java IN.json OUT.json

SPICE's main program caches parses in a native data base (lmdbjni) and writes its answer through a JavaScript
engine, which Java dropped in version 15. Scoring needs neither: JPype calls the scorer and reads its JSON.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from captioning.core.java import find_java, package_folder

# The models of the parser and of the names take gigabytes.
OPTIONS = ("-Xmx8G", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Dfile.encoding=UTF-8")


def start(more_jars: Sequence[Path] = ()) -> None:
    """Starts Java in this process, with SPICE and its libraries."""
    import jpype

    folder = package_folder() / "spice"
    os.environ["JAVA_HOME"] = str(find_java().resolve().parents[1])  # where JPype looks for libjvm
    jars = [folder / "spice-1.0.jar", *sorted((folder / "lib").glob("*.jar")), *more_jars]
    jpype.startJVM(*OPTIONS, classpath=[str(jar) for jar in jars], convertStrings=False)


def new(name: str) -> Any:
    """An instance of one of SPICE's classes, whose constructors without arguments are not public."""
    import jpype

    constructor = jpype.JClass(f"edu.anu.spice.{name}").class_.getDeclaredConstructor()
    constructor.setAccessible(True)
    return constructor.newInstance()


def score(path: str) -> str:
    """SPICE's answer, JSON, to a file of [{"image_id", "test", "refs"}, ...]."""
    import jpype

    arguments, scorer = new("SpiceArguments"), new("SpiceScorer")
    arguments.inputPath = path
    arguments.silent = arguments.tupleSubsets = jpype.java.lang.Boolean(True)
    scorer.scoreBatch(arguments)
    return str(scorer.stats.toJSONString())


def main() -> None:
    given, found = sys.argv[1:]
    start()
    Path(found).write_text(score(given), encoding="utf-8")


if __name__ == "__main__":
    main()
