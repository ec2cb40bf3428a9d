"""SPICE (Anderson et al. 2016, https://arxiv.org/abs/1607.08822): optional, computed if its parts are there.

pycocoevalcap ships SPICE's own jar and downloads Stanford CoreNLP (385 MB) on first use. This module
downloads nothing: a sentence names missing parts. Java runs in its own process, so that it can neither hang
the evaluation nor take its memory. `captioning.metrics.spice_java` is that process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from captioning.core.errors import UserError
from captioning.core.java import package_folder
from captioning.core.threads import ending_with_this
from captioning.metrics import spice_java

JARS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
SECONDS_EACH, SECONDS_START = 3.0, 300.0  # an image of six sentences to parse; loading the models


def fault() -> str | None:
    """Why there is no SPICE, or None."""
    library = package_folder() / "spice" / "lib"
    absent = [name for name in JARS if not (library / name).is_file()]
    if not absent:
        return None
    return (
        f"its Java parts are absent ({' and '.join(absent)} in spice/lib/ of pycocoevalcap); "
        "`python -m pycocoevalcap.spice.get_stanford_models` downloads 385 MB to there"
    )


def spice(references: Mapping[str, Sequence[str]], candidates: Mapping[str, str]) -> np.ndarray:
    """SPICE of each image, (N,), in the order of `candidates`. Raises UserError with Java's own words."""
    entries = [{"image_id": i, "test": said, "refs": list(references[i])} for i, said in candidates.items()]
    limit = SECONDS_START + SECONDS_EACH * len(entries)
    with tempfile.TemporaryDirectory() as temporary:
        given, found = Path(temporary, "in.json"), Path(temporary, "out.json")
        given.write_text(json.dumps(entries), encoding="utf-8")
        command = [sys.executable, "-m", spice_java.__name__, str(given), str(found)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=limit, preexec_fn=ending_with_this())
        except subprocess.TimeoutExpired:
            raise UserError(f"SPICE did not end within {limit:.0f} s and was stopped") from None
        if done.returncode:
            said = " ".join(done.stderr.decode("utf-8", "replace").split())
            raise UserError(f"SPICE failed (exit code {done.returncode}): ...{said[-600:]}")
        return read(found.read_text(encoding="utf-8"), list(candidates))


def read(answer: str, ids: Sequence[str]) -> np.ndarray:
    """The F-score of all tuples for each of `ids`, (N,), from SPICE's JSON."""
    try:
        scores = {str(entry["image_id"]): float(entry["scores"]["All"]["f"]) for entry in json.loads(answer)}
        return np.array([scores[i] for i in ids])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"SPICE's answer cannot be read: {error!r}") from None
