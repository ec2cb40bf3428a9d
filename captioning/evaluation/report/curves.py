"""The curves of a training stage, as dvclive wrote them."""

from __future__ import annotations

import csv
from pathlib import Path


def curves(folder: Path) -> dict[str, dict[int, float]]:
    """{score: {epoch, from 1: its value}}, from one table per score. {} if the folder does not exist."""
    found = {}
    for path in sorted(folder.glob("*.tsv")):
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t")
            found[path.stem] = {int(row["step"]): float(row[path.stem]) for row in rows}
    return found
