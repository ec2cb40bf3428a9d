"""What a project's captioners learned from, in a line, and a few of its test pictures to try them on."""

from __future__ import annotations

import csv
from pathlib import Path

from captioning.core.paths import IMAGES, STATISTICS
from captioning.data.caption_files import read_json

SAMPLES = 8


def learned_from(project: Path) -> str | None:
    """As "scenes: 1,920 drawings, 410 words; for photographs see ...". None where the project has no data."""
    if not (project / STATISTICS).is_file():
        return None
    found = read_json(project / STATISTICS)
    images, words = f"{found['splits']['train']['images']:,}", f"{found['vocabulary']:,} words"
    if found["source"] == "scenes":
        return f"scenes: {images} drawings, {words}; for photographs see README.md, “Flickr8k”"
    return f"{found['source']}: {images} pictures, {words}"


def samples(project: Path) -> list[Path]:
    """Some pictures from all over the test split; empty where the project has no data."""
    if not (project / IMAGES).is_file():
        return []
    with open(project / IMAGES, encoding="utf-8", newline="") as file:
        paths = [project / row["path"] for row in csv.DictReader(file) if row["split"] == "test"]
    return [path for path in paths[:: max(1, len(paths) // SAMPLES)] if path.is_file()][:SAMPLES]
