"""METEOR 1.5 (Denkowski and Lavie, 2014), as coco-caption runs it: pycocoevalcap's jar in a Java process.

The jar takes 5.5 s to load its paraphrase table, or 0.7 s to load the part that
`captioning.metrics.paraphrases` keeps for given references. A caption then takes 1 ms, so one process serves
all captions of an evaluation. Java returns sums for each image (lengths, matches by stage, chunks). A
corpus's METEOR is computed from the sums over its images and is not a mean of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from captioning.core.errors import UserError
from captioning.core.java import Conversation, package_folder

JAR, WHOLE_TABLE = "meteor-1.5.jar", "data/paraphrase-en.gz"  # in pycocoevalcap's folder meteor
PATIENCE = 300.0  # seconds without an answer; a cold disk on a busy machine takes a tenth of this

# METEOR's parameters for English, and the weights of its four stages: exact, stem, synonym, paraphrase.
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
STAGES = np.array([1.0, 0.6, 0.8, 0.6])
WIDTH = 23  # statistics per image, in the order of METEOR's MeteorStats.toString


class Meteor:
    """One METEOR process. Starting it returns at once; the first question waits for the table to load.

    `table` is what `captioning.metrics.paraphrases` wrote. It must have been written for all references that
    will be scored. Without it METEOR reads the whole table. Raises UserError if the file is missing.
    """

    def __init__(self, table: Path | None = None, patience: float = PATIENCE):
        folder = package_folder() / "meteor"
        arguments = ["-Xms512m", "-jar", JAR, "-", "-", "-stdio", "-l", "en", "-norm"]
        if table is not None:
            if not table.is_file():
                raise UserError(f"{table} is missing: run `dvc repro filter_paraphrases` first")
            arguments += ["-a", str(table.resolve())]
        self._java = Conversation(arguments, what="METEOR", patience=patience, cwd=folder)

    @property
    def pid(self) -> int:
        return self._java.pid

    def score(
        self, references: Sequence[Sequence[str]], candidates: Sequence[str]
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """Scores N tokenized candidates, each against its own references.

        Returns the corpus's score, the images' scores (N,) and their statistics (N, 23), all computed by
        Java.
        """
        lines = self._java.ask(map(_question, references, candidates), len(candidates))
        try:
            # (N, 23)
            statistics = np.array([line.split() for line in lines], dtype=np.float64).reshape(-1, WIDTH)
            scores = [float(x) for x in self._java.ask([" ||| ".join(["EVAL", *lines])], len(candidates) + 1)]
        except ValueError:
            odd = next((line for line in lines if len(line.split()) != WIDTH), lines[0])
            self.close()
            raise UserError(f"METEOR answered {odd[:200]!r} where {WIDTH} numbers were expected") from None
        return scores[-1], np.array(scores[:-1]), statistics

    def close(self) -> None:
        self._java.close()

    def __enter__(self) -> Meteor:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def summands(statistics: np.ndarray) -> np.ndarray:
    """The statistics that METEOR sums over images. A caption equal to its reference counts no chunk."""
    # (N, stage, c|f, test|ref) -> (N, test|ref)
    totals = statistics[:, 4:20].reshape(-1, 4, 2, 2).sum(axis=(1, 2))
    perfect = (totals == statistics[:, :2]).all(axis=1) & (statistics[:, 20] == 1)
    result = statistics.copy()
    result[perfect, 20] = 0
    return result


def from_sums(sums: np.ndarray) -> np.ndarray:
    """METEOR of a corpus from the sum of its images' `summands`: (..., 23) -> (...,)"""
    test_length, reference_length, test_function, reference_function = np.moveaxis(sums[..., :4], -1, 0)
    # (..., stage, [test, reference] x [content, function])
    stages = sums[..., 4:20].reshape(*sums.shape[:-1], 4, 4)
    chunks, test_words, reference_words = np.moveaxis(sums[..., 20:23], -1, 0)

    def weighted(content: np.ndarray, function: np.ndarray) -> np.ndarray:
        return DELTA * content + (1 - DELTA) * function

    with np.errstate(divide="ignore", invalid="ignore"):
        precision = weighted(stages[..., 0] @ STAGES, stages[..., 2] @ STAGES)
        precision = precision / weighted(test_length - test_function, test_function)
        recall = weighted(stages[..., 1] @ STAGES, stages[..., 3] @ STAGES)
        recall = recall / weighted(reference_length - reference_function, reference_function)
        f_mean = 1.0 / ((1.0 - ALPHA) / precision + ALPHA / recall)
        fragmentation = chunks / ((test_words + reference_words) / 2)
        score = f_mean * (1.0 - GAMMA * fragmentation**BETA)
    return np.maximum(np.nan_to_num(score, nan=0.0), 0.0)


def field(text: str) -> str:
    """A text without `|||`, METEOR's field separator.

    pycocoevalcap removes it from candidates only; a reference with it would be read as two.
    """
    return text.replace("|||", "")


def _question(references: Sequence[str], candidate: str) -> str:
    return " ||| ".join(["SCORE", *map(field, references), field(candidate).replace("  ", " ")])
