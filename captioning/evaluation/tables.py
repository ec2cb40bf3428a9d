"""Scores for reading: the table that ends stage evaluate, and the files that `dvc plots show` draws."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from captioning.core.files import atomic_write, csv_line, read_json
from captioning.core.paths import CONFIG, checkpoint
from captioning.data.dataset import Data
from captioning.evaluation.variety import by_rarity, lengths, rarity
from captioning.metrics.coco import METRICS, TITLES, Scores

COLOURS = {"lstm": "#c2540a", "clipcap": "#3355c8", "humans": "#2b7a4b"}
System = Mapping[str, Mapping[str, float]]  # {metric: {value, low, high}}


def table(systems: Mapping[str, System]) -> str:
    """One line per system: its seven scores and CIDEr's interval."""
    width = max(map(len, systems))
    lines = [" ".join([" " * width, *(f"{title:>7}" for title in TITLES.values()), "   95% of CIDEr"])]
    for name, scores in systems.items():
        cells = [f"{scores[metric]['value']:7.3f}" for metric in METRICS]
        cider = scores["cider"]
        lines.append(" ".join([f"{name:<{width}}", *cells, f"   {cider['low']:.3f} to {cider['high']:.3f}"]))
    return "\n".join(lines)


def probability(p: float) -> str:
    """A test's p, as the report words it."""
    return f"p = {p:.3f}" if p >= 0.0005 else "p < 0.001"


def verdict(better: str, other: str, found: Mapping[str, Mapping[str, float]]) -> str:
    """The difference between two captioners, one line for each metric that decides."""
    lines = []
    for metric in ("cider", "meteor", "bleu_4"):
        one = found[metric]
        lines.append(
            f"{better} - {other}: {TITLES[metric]:<7} {one['difference']:+.3f}, 95% {one['low']:+.3f} to "
            f"{one['high']:+.3f}, {probability(one['p'])}, effect {one['effect']:+.2f}, "
            f"wins {one['wins']:.0%} of the images"
        )
    return "\n".join(lines)


MORE = {
    "clipscore": "CLIP-S", "refclipscore": "RefCLIP-S", "spice": "SPICE", "facts_precision": "facts P",
    "facts_recall": "facts R", "distinct_1": "dist-1", "distinct_2": "dist-2", "vocabulary": "words",
    "distinct_captions": "unique", "copied": "copied", "exact": "exact", "mean_words": "length",
}  # fmt: skip


def more_table(more: Mapping[str, Mapping]) -> list[str]:
    """The scores of `captioning.evaluation.extras` as lines: one per system, then the notes."""
    systems = more["systems"]
    shown = [key for key in MORE if any(key in scores for scores in systems.values())]
    width = max(map(len, systems))
    wide = {key: max(6, len(MORE[key])) for key in shown}
    lines = [" ".join([" " * width, *(f"{MORE[key]:>{wide[key]}}" for key in shown)])]
    for name, scores in systems.items():
        cells = [f"{_cell(scores.get(key)):>{wide[key]}}" for key in shown]
        lines.append(" ".join([f"{name:<{width}}", *cells]))
    lines += [_of_sets(name, found) for name, found in more["diversity"].items()]
    lines += [_contradicted(name, found) for name, found in more["mistakes"].items()]
    return lines + [line for note in more["notes"].values() for line in textwrap.wrap(f"note: {note}", 118)]


def _cell(value: float | Mapping[str, float] | None) -> str:
    if value is None:
        return ""
    number = value["value"] if isinstance(value, Mapping) else value
    return f"{number:.0f}" if number >= 100 else f"{number:.3f}"


def _of_sets(name: str, found: Mapping[str, Any]) -> str:
    """How several captions of an image differ, in one line."""
    line = (
        f"{found['captions']:.3g} captions per image, {name}: div-1 {found['div_1']:.3f}, div-2 "
        f"{found['div_2']:.3f}, mBLEU-4 {found['mbleu_4']:.3f}"
    )
    if "best_cider" not in found:
        return line
    mean, best = found["mean_cider"]["value"], found["best_cider"]["value"]
    return f"{line}, mean CIDEr {mean:.3f}, best of each set {best:.3f}"


def _contradicted(name: str, found: Mapping[str, Any]) -> str:
    """The share of each class's labels that people contradict, in one line."""
    known = {kind: of["contradicted"] for kind, of in found.items() if "contradicted" in of}
    shares = [f"{kind} {share['value']:.1%}" for kind, share in known.items()]
    return f"contradicted by people, {name}: {', '.join(shares) or 'nothing of the kind is said'}"


def write_plot(path: Path, systems: Mapping[str, System], split: str) -> None:
    """One panel per metric, one bar per system, with 95% intervals."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(systems)
    figure = Figure(figsize=(12, 1.2 + 0.28 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(METRICS), sharey=True)
    for metric, panel in zip(METRICS, panels, strict=True):
        for row, name in enumerate(names):
            one = systems[name][metric]
            # Rounding may put the value just outside its percentile interval; an error bar must not be
            # negative.
            error = [[max(0.0, one["value"] - one["low"])], [max(0.0, one["high"] - one["value"])]]
            panel.barh(row, one["value"], xerr=error, color=_colour(name), error_kw={"lw": 1, "capsize": 2})
        panel.set_title(TITLES[metric])
        panel.set_xlim(left=0)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    figure.suptitle(f"Scores of the {split} images, with 95% bootstrap intervals over images", fontsize=10)
    with atomic_write(path, "wb") as file:
        FigureCanvasAgg(figure).print_png(file)


def _colour(name: str) -> str:
    """The report's colours for captioners and people, grey for baselines."""
    return next((colour for kind, colour in COLOURS.items() if name.startswith(kind)), "#cfcfcf")


def write_more_plots(
    folder: Path, data: Data, split: str, said: Mapping[str, Mapping[str, str]], scores: Mapping[str, Scores]
) -> None:
    """Writes caption lengths, scores by rarity of content, and CLIP's retrieval before and after fine-tuning.

    said: {captioner: {image id: tokens}}.
    """
    references = data.tokens(split)
    people = [text for texts in references.values() for text in texts]
    texts = {name: list(captions.values()) for name, captions in said.items()} | {"people": people}
    write_rows(folder / "caption_lengths.csv", lengths(texts))
    cider = {}
    for name, one in scores.items():
        cider[name] = dict(zip(one.ids, one.per_image["cider"].tolist(), strict=True))
    write_rows(folder / "score_by_frequency.csv", by_rarity(rarity(data.tokens("train"), references), cider))
    if found := retrieval():
        pairs = [(key, when) for key in MEASURES for when in ("before", "after")]
        rows = [{"recall": f"{MEASURES[key]}, {when}", "share": found[when][key]} for key, when in pairs]
        write_rows(folder / "clip_retrieval.csv", rows)


def retrieval() -> dict[str, dict[str, float]] | None:
    """CLIP's recall on dev, {before, after: {measure: share}}, or None if it was not fine-tuned."""
    path = checkpoint("clip") / CONFIG
    return read_json(path).get("retrieval") if path.exists() else None


def write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with atomic_write(path) as file:
        file.write(csv_line(rows[0]))
        file.writelines(csv_line(row.values()) for row in rows)


MEASURES = {
    f"{way}_r{k}": f"{title} R@{k}"
    for way, title in (("image_to_text", "image to text"), ("text_to_image", "text to image"))
    for k in (1, 5, 10)
}
