"""A full model card for a trained captioner: settings, curves, test scores, examples and mistakes.

`captioning.training.card` writes a short card beside the weights right after training. This card is written
once the test split is scored. If it replaces the short card, the checkpoint's folder is a complete repository
for the hub.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from captioning.core import paths
from captioning.core.files import read_json
from captioning.core.settings import Settings
from captioning.data.dataset import load_data
from captioning.evaluation import mistakes
from captioning.evaluation.report.curves import curves
from captioning.metrics.coco import TITLES
from captioning.training.card import describe_captioner, describe_data
from captioning.weights.sources import PRETRAINED

EXAMPLES = 10  # number of best examples, and of worst ones


@dataclass(frozen=True)
class Captioner:
    """The contents of a card, read from the project's folder.

    Attributes:
        config: the checkpoint's: kind, sizes, features, training.
        weights: {checkpoint folder: sha256}, several for an ensemble.
        curves: {score: {epoch, from 1: its value}}.
        scores: the results of stage evaluate.
        images: (image id, caption, references, CIDEr) of each scored image.
    """

    name: str
    settings: Settings
    config: Mapping[str, Any]
    weights: Mapping[str, str]
    curves: Mapping[str, Mapping[int, float]]
    scores: Mapping[str, Any]
    images: Sequence[tuple[str, str, Sequence[str], float]]

    def card(self) -> str:
        """The card as Markdown, with the front matter that the hub reads."""
        parts = {
            "Data": describe_data(),
            "Scores": self._scores(),
            "Several captions per image": self._diversity(),
            "What it gets wrong": self._mistakes(),
            f"Its {EXAMPLES} best captions by CIDEr": examples(self._ranked()[:EXAMPLES]),
            f"Its {EXAMPLES} worst": examples(self._ranked()[-EXAMPLES:]),
            "Training": self._training(),
            "Settings": self._settings(),
        }
        what = describe_captioner(self.name, self.config["features"])
        body = "\n\n".join(f"## {title}\n\n{text}" for title, text in parts.items() if text)
        return f"---\n{self._front_matter()}\n---\n\n# Image captioner: {self.name}\n\n{what}\n\n{body}\n"

    def _front_matter(self) -> str:
        source, found = self.settings.data.source, self.scores["systems"][self.name]
        results = [
            EvalResult(
                task_type="image-to-text", dataset_type=source, dataset_name=source,
                dataset_split=self.scores["split"], metric_type=key, metric_name=title,
                metric_value=found[key]["value"],
            )
            for key, title in TITLES.items()
        ]  # fmt: skip
        return ModelCardData(
            language="en", license="other", library_name="pytorch", pipeline_tag="image-to-text",
            tags=["image-captioning", self.name], base_model=base_models(self.settings, self.name) or None,
            model_name=f"{self.name}-{source}", eval_results=results,
        ).to_yaml()  # fmt: skip

    def _scores(self) -> str:
        titles = {self.name: self.name, "humans": "people"}
        titles[f"nearest_{self._encoder}"] = "nearest training image's caption"
        rows = []
        for key, title in titles.items():
            if system := self.scores["systems"].get(key):
                rows.append([title, *(with_interval(system[metric]) for metric in TITLES)])
        return (
            f"{self.scores['images']:,} {self.scores['split']} images, coco-caption's scorers, 95% bootstrap "
            f"intervals over images. People: each reference against the image's others."
            f"\n\n{table(['', *TITLES.values()], rows)}\n\n{self._variety()}"
        )

    def _variety(self) -> str:
        more = self.scores["more"]
        own, people = more["systems"][self.name], more["systems"].get("humans")
        of_people = f" (people: {people['copied']:.1%})" if people else ""
        text = (
            f"Different captions / captions: {own['distinct_captions']:.2f}, of {own['vocabulary']:.0f} "
            f"different words. {own['copied']:.1%} are a training caption, word for word{of_people}."
        )
        return f"{text} Suspect: {more['notes'][self.name]}." if self.name in more["notes"] else text

    def _diversity(self) -> str:
        found = self.scores["more"]["diversity"]
        own, people = found.get(self.name), found.get("humans", {})
        if not own:
            return ""
        titles = {
            "distinct": "different captions / all", "div_1": "div-1", "div_2": "div-2", "mbleu_4": "mBLEU-4",
            "copied": "copies of training captions", "mean_cider": "mean CIDEr",
            "best_cider": "best CIDEr of each set",
        }  # fmt: skip
        rows = [[title, number(own.get(key)), number(people.get(key))] for key, title in titles.items()]
        chosen = self.settings.generate.diverse
        how = f"nucleus sampling, top-p {chosen.top_p}, temperature {chosen.temperature}"
        how = how if chosen.method == "nucleus" else f"diverse beam search, strength {chosen.strength}"
        return f"{chosen.captions} captions by {how}.\n\n{table(['', self.name, 'people'], rows)}"

    def _mistakes(self) -> str:
        more, rows = self.scores["more"], []
        own, people = more["mistakes"][self.name], more["mistakes"].get("humans")
        for kind in mistakes.CLASSES:
            for who, found in ((self.name, own), ("people", people)):
                if found:
                    figures = map(found[kind].get, ("said", "precision", "contradicted", "recall"))
                    rows.append([f"{kind}, {who}", *map(number, figures)])
        text = (
            "Words of each class in its captions, checked against the references. Said: how many it says. "
            "Supported: the share that a reference says too. Contradicted: the share that no reference says, "
            "while two references agree on another word. Recall: the share of what two references agree on "
            "that it says. People: each reference against the others.\n\n"
            + table(["", "said", "supported", "contradicted", "recall"], rows)
        )
        if facts := more["facts"].get(self.name):
            pairs = {kind: (of.get("precision"), of.get("recall")) for kind, of in facts.items()}
            rows = [[kind, *map(number, pair)] for kind, pair in pairs.items()]
            text += "\n\nAgainst what is drawn:\n\n" + table(["", "precision", "recall"], rows)
        return text

    def _training(self) -> str:
        epochs = sorted({epoch for curve in self.curves.values() for epoch in curve})
        if not epochs:
            return "Not trained here: these are the starting weights."
        curves = self.curves.values()
        rows = [[epoch, *(number(curve.get(epoch)) for curve in curves)] for epoch in epochs]
        return table(["epoch", *self.curves], rows)

    def _settings(self) -> str:
        weights = "\n".join(f"- `{folder}`: `{sha256}`" for folder, sha256 in self.weights.items())
        joined = agreed = ""
        if len(self.weights) > 1:
            joined = "Several decoders wrote the captions; their probabilities are averaged.\n\n"
        if self.settings.generate.consensus:
            agreed = (
                "Each caption is the one of its beam that is most like the captions of similar training "
                "images (`generate.consensus`).\n\n"
            )
        told = {key: self.config[key] for key in ("training", "sizes", "features")}
        told["generate"] = self.settings.generate.model_dump()
        return (
            f"{joined}{agreed}SHA-256 of the weights:\n\n{weights}\n\n"
            f"```json\n{json.dumps(told, indent=2)}\n```"
        )

    def _ranked(self) -> list[tuple[str, str, Sequence[str], float]]:
        return sorted(self.images, key=lambda image: (-image[3], image[0]))

    @property
    def _encoder(self) -> str:
        return paths.ENCODER_OF[self.name]


def read_captioner(name: str, settings: Settings, root: Path = Path(".")) -> Captioner:
    """Reads the outputs of the earlier stages."""
    scores = read_json(root / paths.SCORES)
    references = load_data(root / paths.DATA).references(scores["split"])
    with open(root / paths.scores_of_images(name), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return Captioner(
        name,
        settings,
        config=read_json(root / paths.checkpoint(name) / paths.CONFIG),
        weights=read_json(root / paths.captions(name, "weights")),
        curves=curves(root / paths.curves(f"train_{name}")),
        scores=scores,
        images=[
            (row["image_id"], row["caption"], references[row["image_id"]], float(row["cider"]))
            for row in rows
        ],
    )


def base_models(settings: Settings, name: str) -> list[str]:
    """The hub's names of the pretrained networks that a captioner builds on."""
    found = []
    for key, repositories in filter(None, map(PRETRAINED.get, (paths.ENCODER_OF[name], name))):
        group, setting = key.split(".")
        options = getattr(settings, group)
        if not getattr(options, "features", None):  # imported features come from another encoder
            found.append(repositories.get(getattr(options, setting)))
    return [one for one in found if one]


def examples(images: Sequence[tuple[str, str, Sequence[str], float]]) -> str:
    rows = []
    for image, caption, references, cider in images:
        wrong = ", ".join(_wrong(caption, references))
        rows.append([cell(image), cell(caption), cell(references[0]), f"{cider:.2f}", wrong])
    return table(["image", "caption", "a person's", "CIDEr", "contradicted"], rows)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(one) for one in line) + " |" for line in lines)


def with_interval(score: Mapping[str, float]) -> str:
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"


def number(value: float | Mapping[str, float] | None) -> str:
    if value is None:
        return ""
    return with_interval(value) if isinstance(value, Mapping) else f"{value:.4g}"


def cell(text: str) -> str:
    """Any text as one cell of a Markdown table."""
    for char in "\\|`*_<[":
        text = text.replace(char, "\\" + char)
    return text


def _wrong(caption: str, references: Sequence[str]) -> list[str]:
    """Same as `captioning.evaluation.mistakes.wrong`, for captions as written."""

    def plain(text: str) -> str:
        return "".join(char if char.isalnum() else " " for char in text.lower())

    return mistakes.wrong(list(map(plain, references)), plain(caption))
