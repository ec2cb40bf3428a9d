"""SPICE (Anderson et al. 2016, https://arxiv.org/abs/1607.08822) where its parts are present; never a condition.

pycocoevalcap brings SPICE's own jar and downloads Stanford CoreNLP (385 MB) by itself when first used. Here nothing is
downloaded: absent parts are told in a sentence. SPICE's cache is not used: its native library (lmdbjni) needs access
to Java's insides that a Java of today refuses.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from captioning.errors import UserError
from captioning.java import package_folder, run

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
        "`python -m pycocoevalcap.spice.get_stanford_models`, run in that package's folder spice/, downloads 385 MB"
    )


def spice(references: Mapping[str, Sequence[str]], candidates: Mapping[str, str]) -> np.ndarray:
    """SPICE of each image, (N,), in the order of `candidates`. Raises UserError with Java's own words."""
    folder = package_folder() / "spice"
    entries = [{"image_id": i, "test": said, "refs": list(references[i])} for i, said in candidates.items()]
    with tempfile.TemporaryDirectory() as temporary:
        given, found = Path(temporary, "in.json"), Path(temporary, "out.json")
        given.write_text(json.dumps(entries), encoding="utf-8")
        arguments = [
            "-Xmx8G",
            "-jar",
            str(folder / "spice-1.0.jar"),
            str(given),
            "-out",
            str(found),
            "-subset",
            "-silent",
        ]
        run(arguments, b"", what="SPICE", timeout=SECONDS_START + SECONDS_EACH * len(entries))
        try:
            scores = {
                str(entry["image_id"]): float(entry["scores"]["All"]["f"])
                for entry in json.loads(found.read_text(encoding="utf-8"))
            }
            return np.array([scores[i] for i in candidates])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"SPICE's answer cannot be read: {error!r}") from None
