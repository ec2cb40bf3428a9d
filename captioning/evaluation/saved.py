"""Scores of every image on disk, complete enough to draw resamples from: `results/per_image.npz`.

ids (N,), references: fingerprint of what was scored against,
NAME.bleu_statistics (N, 10), NAME.meteor_statistics (N, 23), NAME.per_image (N, 7), NAME.corpus (7,)
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from captioning.core.errors import UserError
from captioning.core.files import atomic_write, fingerprint
from captioning.metrics.coco import METRICS, Scores


def save(path: Path, scores: Mapping[str, Scores], references: Mapping[str, list[str]]) -> None:
    """Scores of several captioners against the same references (tokenized, as they were scored)."""
    ids = next(iter(scores.values())).ids
    arrays = {"ids": np.array(ids), "references": np.array(fingerprint(references))}
    for name, one in scores.items():
        if one.ids != ids:
            raise ValueError(f"the scores of {name} are of other images")
        arrays[f"{name}.bleu_statistics"] = one.bleu_statistics
        arrays[f"{name}.meteor_statistics"] = one.meteor_statistics
        arrays[f"{name}.per_image"] = np.stack([one.per_image[metric] for metric in METRICS], axis=1)  # (N, 7)
        arrays[f"{name}.corpus"] = np.array([one.corpus[metric] for metric in METRICS])
    with atomic_write(path, "wb") as file:
        np.savez_compressed(file, **arrays)


def load(content: bytes, origin: str) -> tuple[dict[str, Scores], str]:
    """({captioner: Scores}, fingerprint of the references) of a saved file's bytes."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        ids = arrays.pop("ids").tolist()
        references = str(arrays.pop("references"))
        names = [name.removesuffix(".corpus") for name in arrays if name.endswith(".corpus")]
        scores = {
            name: Scores(
                ids=ids,
                corpus=dict(zip(METRICS, arrays[f"{name}.corpus"].tolist(), strict=True)),
                per_image=dict(zip(METRICS, arrays[f"{name}.per_image"].T, strict=True)),
                bleu_statistics=arrays[f"{name}.bleu_statistics"],
                meteor_statistics=arrays[f"{name}.meteor_statistics"],
            )
            for name in names
        }
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise UserError(f"{origin}: results/per_image.npz cannot be read ({error}); run `dvc repro` there") from None
    return scores, references
