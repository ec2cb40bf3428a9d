"""Made-up scores of a run, whose quality is one number."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from captioning.evaluation.saved import save
from captioning.metrics.coco import METRICS, Scores

IMAGES = 60


def scores(skill: float) -> Scores:
    """Made-up scores of IMAGES images. Higher `skill` gives better scores; an image has the same difficulty
    in each set."""
    hard = np.random.default_rng(0).uniform(0.2, 1, IMAGES)
    noise = np.random.default_rng(int(skill * 1000)).normal(0, 0.1, IMAGES)
    cider = np.clip(skill * hard + noise, 0, None)
    right = np.clip(np.round(8 * cider), 1, 10).astype(np.int64)
    matched = [np.maximum(right - n, 0) for n in range(4)]
    lengths = [np.full(IMAGES, length) for length in (10, 9, 8, 7, 10, 10)]
    bleu = np.stack([*matched, *lengths], axis=1)  # (N, 10)
    meteor = np.zeros((IMAGES, 23))
    meteor[:, [0, 1]] = 10
    meteor[:, 4] = meteor[:, 5] = right
    meteor[:, 20], meteor[:, 21], meteor[:, 22] = 2, 10, 10
    return Scores(
        ids=[f"im{n}" for n in range(IMAGES)],
        corpus=dict.fromkeys(METRICS, float(cider.mean())),
        per_image=dict.fromkeys(METRICS, cider),
        bleu_statistics=bleu,
        meteor_statistics=meteor,
    )


def write(path: Path, skill: float, reference: str = "a dog") -> None:
    save(
        path, {"clipcap": scores(skill), "lstm": scores(0.5)}, {f"im{n}": [reference] for n in range(IMAGES)}
    )
