"""What a captioner learned from: one line, doubts whether that is enough, and a few test pictures to try."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from app.folder import ENCODER, project_of
from captioning.core.paths import CONFIG, IMAGES, STATISTICS
from captioning.data.enough import found_doubts

LEARNED, DOUBTS = "learned_from", "doubts"  # keys in an exported captioner's config.json
SAMPLES = 8


def learned_from(folder: Path) -> str | None:
    """A line such as "scenes: 1,920 drawings, 410 words; for photographs see ...", or None."""
    if (folder / ENCODER).is_dir():
        return json.loads((folder / CONFIG).read_text(encoding="utf-8")).get(LEARNED)
    if not (path := project_of(folder) / STATISTICS).is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    images, words = f"{found['splits']['train']['images']:,}", f"{found['vocabulary']:,} words"
    if found["source"] == "scenes":
        where = "“Your own pictures” in the project's README"
        return f"scenes: {images} drawings, {words}; for photographs see {where}"
    return f"{found['source']}: {images} pictures, {words}"


def doubts(folder: Path) -> list[str]:
    """A sentence for each reason why captions or scores mean little (`captioning.data.enough`)."""
    if (folder / ENCODER).is_dir():
        return json.loads((folder / CONFIG).read_text(encoding="utf-8")).get(DOUBTS, [])
    return found_doubts(project_of(folder) / STATISTICS)


def samples(folder: Path) -> list[Path]:
    """Pictures spread over the test split of a captioner's project. Empty without data, and for an export."""
    project = project_of(folder)
    if (folder / ENCODER).is_dir() or not (project / IMAGES).is_file():
        return []
    with open(project / IMAGES, encoding="utf-8", newline="") as file:
        paths = [project / row["path"] for row in csv.DictReader(file) if row["split"] == "test"]
    return [path for path in paths[:: max(1, len(paths) // SAMPLES)] if path.is_file()][:SAMPLES]
