"""What a captioner learned from, in a line, and a few test pictures of its project to try it on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from app.folder import ENCODER, project_of
from captioning.core.paths import IMAGES, STATISTICS

LEARNED = "learned_from"  # in the config.json of an exported captioner
SAMPLES = 8


def learned_from(folder: Path) -> str | None:
    """As "scenes: 1,920 drawings, 410 words; for photographs see ...". None where a captioner's folder does not say."""
    if (folder / ENCODER).is_dir():
        return json.loads((folder / "config.json").read_text(encoding="utf-8")).get(LEARNED)
    if not (path := project_of(folder) / STATISTICS).is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    images, words = f"{found['splits']['train']['images']:,}", f"{found['vocabulary']:,} words"
    if found["source"] == "scenes":
        return f"scenes: {images} drawings, {words}; for photographs see the project's README, “Flickr8k”"
    return f"{found['source']}: {images} pictures, {words}"


def samples(folder: Path) -> list[Path]:
    """Pictures from all over the test split of a captioner's project; empty where it has no data, or was exported."""
    project = project_of(folder)
    if (folder / ENCODER).is_dir() or not (project / IMAGES).is_file():
        return []
    with open(project / IMAGES, encoding="utf-8", newline="") as file:
        paths = [project / row["path"] for row in csv.DictReader(file) if row["split"] == "test"]
    return [path for path in paths[:: max(1, len(paths) // SAMPLES)] if path.is_file()][:SAMPLES]
