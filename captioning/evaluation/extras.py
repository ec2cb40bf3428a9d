"""Scores beyond coco-caption's seven: variety, mistakes, facts, CLIPScore and SPICE, if they can be computed.

{"systems": {name: {score: number or {value, low, high}}},
 "diversity": {name: {score: number or {value, low, high}}},   of several captions per image, if written
 "mistakes": {name: {class: {said, precision, contradicted, recall}}},
 "facts": {name: {category: {precision, recall}}},       only on `scenes`
 "notes": {score: why it is absent, or a warning about comparing it}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from captioning.core.errors import UserError
from captioning.core.files import read_json
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
COPIED, COLLAPSED = 0.5, 0.05  # shares of captions above which a captioner is suspect


def more_scores(
    *,
    data: Data,
    split: str,
    work: Mapping[str, Folds],
    captions: Mapping[str, Mapping[str, str]],
    sets: Mapping[str, Sets],
    official_clip: bool,
    count: int,
    seed: int,
) -> dict[str, Any]:
    """All of these scores, in the form that the module's docstring shows.

    Args:
        data, split: the data set, and the split whose images are scored.
        work: {system: folds of (references, candidates)}, tokenized, as `captioning.evaluation.systems.jobs`
            gives them.
        captions: {captioner: {image id: caption}} as written.
        sets: {captioner: {image id: several captions}} as written, for captioners that wrote several.
        official_clip: features/clip.h5 comes from one of OpenAI's own CLIPs.
        count, seed: number of the bootstrap's resamples, and its seed.
    """
    train = data.tokens("train")
    systems: dict[str, dict[str, Any]] = {}
    for name, folds in work.items():
        varied = averaged([variety(said, train) for _, said in folds])
        varied["exact"] = float(np.mean([exact(said, references) for references, said in folds]))
        systems[name] = varied
    notes = {name: note for name in captions if (note := suspicion(name, systems[name]))}
    wrong = {name: mistakes(work[name], count, seed) for name in (*captions, "humans") if name in work}
    facts = _facts(work, count, seed)
    for name, one in facts.items():
        systems[name] |= {f"facts_{key}": value for key, value in one[scene_facts.ALL].items()}
    for score, (found, note) in {
        "clipscore": _clipscore(data.references(split), captions, official_clip, count, seed),
        "spice": _spice({name: work[name][0] for name in captions}, count, seed),
    }.items():
        for name, one in found.items():
            systems[name] |= one
        if note:
            notes[score] = note
    return {
        "systems": systems,
        "diversity": _diversity(sets, data.tokens(split), train, count, seed),
        "mistakes": wrong,
        "facts": facts,
        "notes": notes,
    }


def _diversity(sets: Mapping[str, Sets], references: Sets, train: Sets, count: int, seed: int) -> dict:
    """The captioners' and people's scores of several captions an image, of those that have several."""
    if not sets:
        return {}
    tokens = iter(ptb_tokenize([text for of in sets.values() for texts in of.values() for text in texts]))
    tokenized = {}
    for name, of in sets.items():
        tokenized[name] = {i: [next(tokens) for _ in texts] for i, texts in of.items()}
    scores = {name: diversity(of, train) for name, of in (tokenized | {"humans": references}).items()}
    found = {name: one for name, one in scores.items() if one}
    for name in found.keys() & tokenized:
        best = oracle(tokenized[name], references)
        found[name] |= {key: _mean(values, count, seed) for key, values in best.items()}
    return found


def _facts(work: Mapping[str, Folds], count: int, seed: int) -> dict:
    if not FACTS.exists():
        return {}
    true, found = read_json(FACTS), {}
    for name, folds in work.items():
        found[name] = scene_facts.fact_scores([said for _, said in folds], true, count, seed)
    return found


def _clipscore(
    references: Sets, captions: Mapping[str, Mapping[str, str]], official: bool, count: int, seed: int
) -> tuple[dict[str, dict], str | None]:
    """CLIPScore and RefCLIPScore of each system, if they can be computed, and a note on them."""
    store = FeatureStore.open(STORE)
    if fault := clipscore.fault(CLIP, store):
        return {}, f"no CLIPScore: {fault}"
    scorer, scores = clipscore.CLIPScorer(CLIP, store, official), {}
    folds = {name: [(references, said)] for name, said in captions.items()} | {"humans": humans(references)}
    for name, parts in folds.items():
        if not parts:  # no image has two references
            continue
        found = zip(*(scorer.score(said, others) for others, said in parts), strict=True)
        plain, with_references = (_mean(np.mean(values, axis=0), count, seed) for values in found)
        scores[name] = {"clipscore": plain, "refclipscore": with_references}
    note = (
        "CLIPScore uses this run's own CLIP, fine-tuned on this data set: it compares the captioners of "
        "this run, but not with published scores"
    )
    return scores, None if official else note


def _spice(
    jobs: Mapping[str, tuple[Sets, dict]], count: int, seed: int
) -> tuple[dict[str, dict], str | None]:
    """SPICE of each captioner, and a note if it is absent."""
    if fault := spice.fault():
        return {}, f"no SPICE: {fault}"
    scores = {}
    try:
        for name, (references, said) in jobs.items():
            scores[name] = {"spice": _mean(spice.spice(references, said), count, seed)}
    except UserError as error:
        # SPICE is an old program that needs gigabytes of memory: if it fails, the run continues.
        return scores, f"no SPICE: {error}"
    return scores, None


def _mean(values: np.ndarray, count: int, seed: int) -> dict[str, float]:
    return ratio(values, np.ones(len(values)), count, seed)


def suspicion(name: str, found: Mapping[str, float]) -> str | None:
    """A warning if captions are copies or all alike, which no score shows; else None."""
    if found["exact"] > COPIED:
        return (
            f"{found['exact']:.0%} of the captions by {name} are a reference of their own image, word for "
            "word: their scores measure copying"
        )
    if found["distinct_captions"] < COLLAPSED:
        return (
            f"{name} says the same about nearly all images: "
            f"only {found['distinct_captions']:.1%} of its captions differ"
        )
    return None
