"""Scores beside the seven of coco-caption: variety, mistakes, facts, CLIPScore and SPICE, each where it can be had.

{"systems": {name: {score: number or {value, low, high}}},
 "diversity": {name: {score: number or {value, low, high}}},   of several captions an image, where they were written
 "mistakes": {name: {class: {said, precision, contradicted, recall}}},
 "facts": {name: {category: {precision, recall}}},       `scenes` alone
 "notes": {score: why it is absent, or what its numbers are not to be compared with}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from captioning.core.errors import UserError
from captioning.core.paths import FACTS, checkpoint, features
from captioning.data.dataset import Data
from captioning.data.ptb import ptb_tokenize
from captioning.evaluation import scene_facts
from captioning.evaluation.baselines import humans
from captioning.evaluation.bootstrap import ratio
from captioning.evaluation.mistakes import Folds, mistakes
from captioning.evaluation.variety import Sets, averaged, diversity, exact, oracle, variety
from captioning.features.store import FeatureStore
from captioning.metrics import clipscore, spice

CLIP, STORE = checkpoint("clip"), features("clip")
COPIED, COLLAPSED = 0.5, 0.05  # shares of captions from which on a captioner is suspect


@dataclass
class More:
    """What the scores are computed from.

    Attributes:
        data, split: with the references of the images that are scored.
        work: {system: folds of (references, candidates)}, tokenized, as `captioning.evaluation.jobs` gives them.
        captions: {captioner: {image id: caption}} as written.
        sets: {captioner: {image id: several captions}} as written; without those that wrote none.
        official_clip: features/clip.h5 comes from one of OpenAI's own CLIPs.
        count, seed: of the bootstrap.
    """

    data: Data
    split: str
    work: Mapping[str, Folds]
    captions: Mapping[str, Mapping[str, str]]
    sets: Mapping[str, Sets]
    official_clip: bool
    count: int
    seed: int

    def scores(self) -> dict[str, Any]:
        train = self.data.tokens("train")
        systems: dict[str, dict[str, Any]] = {}
        for name, folds in self.work.items():
            varied = averaged([variety(said, train) for _, said in folds])
            varied["exact"] = float(np.mean([exact(said, references) for references, said in folds]))
            systems[name] = varied
        notes = {name: note for name in self.captions if (note := suspicion(name, systems[name]))}
        wrong = {
            name: mistakes(self.work[name], self.count, self.seed)
            for name in (*self.captions, "humans")
            if name in self.work
        }
        facts = self._facts(systems)
        self._clipscore(systems, notes)
        self._spice(systems, notes)
        return {
            "systems": systems,
            "diversity": self._diversity(train),
            "mistakes": wrong,
            "facts": facts,
            "notes": notes,
        }

    def _diversity(self, train: Sets) -> dict:
        if not self.sets:
            return {}
        references = self.data.tokens(self.split)
        tokens = iter(ptb_tokenize([text for of in self.sets.values() for texts in of.values() for text in texts]))
        sets = {name: {i: [next(tokens) for _ in texts] for i, texts in of.items()} for name, of in self.sets.items()}
        found = {}
        for name, of_images in (sets | {"humans": references}).items():
            found[name] = diversity(of_images, train)
        for name, of_images in sets.items():
            found[name] |= {key: self._mean(values) for key, values in oracle(of_images, references).items()}
        return found

    def _facts(self, systems: dict) -> dict:
        if not FACTS.exists():
            return {}
        true = json.loads(FACTS.read_text(encoding="utf-8"))
        found = {
            name: scene_facts.fact_scores([said for _, said in folds], true, self.count, self.seed)
            for name, folds in self.work.items()
        }
        for name, one in found.items():
            systems[name] |= {f"facts_{key}": one[scene_facts.ALL][key] for key in one[scene_facts.ALL]}
        return found

    def _clipscore(self, systems: dict, notes: dict) -> None:
        store = FeatureStore.open(STORE)
        if fault := clipscore.fault(CLIP, store):
            notes["clipscore"] = f"no CLIPScore: {fault}"
            return
        if not self.official_clip:
            notes["clipscore"] = (
                "CLIPScore is by this run's own CLIP, which learned from this data set: it compares captioners of one "
                "run, and not with the literature"
            )
        scorer, references = clipscore.CLIPScorer(CLIP, store, self.official_clip), self.data.references(self.split)
        folds = {name: [(references, said)] for name, said in self.captions.items()} | {"humans": humans(references)}
        for name, parts in folds.items():
            if not parts:  # no image has two references
                continue
            found = [scorer.score(said, others) for others, said in parts]
            for key, values in zip(("clipscore", "refclipscore"), zip(*found, strict=True), strict=False):
                systems[name][key] = self._mean(np.mean(values, axis=0))

    def _spice(self, systems: dict, notes: dict) -> None:
        if fault := spice.fault():
            notes["spice"] = f"no SPICE: {fault}"
            return
        try:
            for name in self.captions:
                references, said = self.work[name][0]
                systems[name]["spice"] = self._mean(spice.spice(references, said))
        except UserError as error:  # an old program, parsers of its own, gigabytes of memory: it may fail, the run not
            notes["spice"] = f"no SPICE: {error}"

    def _mean(self, values: np.ndarray) -> dict[str, float]:
        return ratio(values, np.ones(len(values)), self.count, self.seed)


def suspicion(name: str, found: Mapping[str, float]) -> str | None:
    """What no score says of captions that were copied, or are all alike; None where there is nothing to say."""
    if found["exact"] > COPIED:
        return (
            f"{found['exact']:.0%} of the captions by {name} are a reference of their own image, word for word: such "
            "scores measure a copy, not a captioner"
        )
    if found["distinct_captions"] < COLLAPSED:
        return (
            f"{name} says the same of nearly all images: only {found['distinct_captions']:.1%} of its captions differ"
        )
    return None
