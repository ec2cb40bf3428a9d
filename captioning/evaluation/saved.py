"""Scores of every image on disk, complete enough to draw resamples from: `results/per_image.npz`.

ids (N,), references: fingerprint of what was scored against, machine: what kind of machine scored,
NAME.bleu_statistics (N, 10), NAME.meteor_statistics (N, 23), NAME.per_image (N, 7), NAME.corpus (7,)
"""

from __future__ import annotations

import io
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from captioning.core.errors import opening
from captioning.core.files import atomic_write, fingerprint
from captioning.core.paths import PER_IMAGE
from captioning.metrics.coco import METRICS, Scores


class Saved(NamedTuple):
    scores: dict[str, Scores]
    references: str  # fingerprint of the references
    machine: str  # empty in files older than this entry


def machine() -> str:
    """What decides this machine's rounding. Equal machines give one setting equal runs, to the last digit."""
    import torch  # imported late: `--help` and argument errors need not wait for it

    from captioning.core.device import has_fast_bf16

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    bf16 = "with" if has_fast_bf16(torch.device("cpu")) else "without"
    kind = torch.backends.cpu.get_cpu_capability()
    return f"{platform.machine()} {kind} {bf16} bf16 units, torch {torch.__version__}"


def save(path: Path, scores: Mapping[str, Scores], references: Mapping[str, list[str]]) -> None:
    """Saves scores of several captioners against the same references (tokenized, as they were scored)."""
    ids = next(iter(scores.values())).ids
    texts = {"references": fingerprint(references), "machine": machine()}
    arrays = {"ids": np.array(ids)} | {name: np.array(text) for name, text in texts.items()}
    for name, one in scores.items():
        if one.ids != ids:
            raise ValueError(f"the scores of {name} are of other images")
        arrays[f"{name}.bleu_statistics"] = one.bleu_statistics
        arrays[f"{name}.meteor_statistics"] = one.meteor_statistics
        # (N, 7)
        arrays[f"{name}.per_image"] = np.stack([one.per_image[metric] for metric in METRICS], axis=1)
        arrays[f"{name}.corpus"] = np.array([one.corpus[metric] for metric in METRICS])
    with atomic_write(path, "wb") as file:
        np.savez_compressed(file, **arrays)


def load(content: bytes, origin: str) -> Saved:
    """Reads a file of `save` from its bytes. Raises UserError, naming `origin`, if they are damaged."""
    with opening(f"{origin}: {PER_IMAGE}", "a file of scores", "run `dvc repro` there"):
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        ids = arrays.pop("ids").tolist()
        references = str(arrays.pop("references"))
        made_by = str(arrays.pop("machine", ""))
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
        if any(len(values) != len(ids) for one in scores.values() for values in one.per_image.values()):
            raise ValueError("expected one row per image")
    return Saved(scores, references, made_by)
