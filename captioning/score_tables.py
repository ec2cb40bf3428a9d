"""Scores for people to look at: the table that ends stage evaluate, and the files that `dvc plots show` draws."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from captioning.files import atomic_write
from captioning.scoring import METRICS

TITLES = dict(zip(METRICS, ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr"), strict=True))
System = Mapping[str, Mapping[str, float]]  # {metric: {value, low, high}}


def table(systems: Mapping[str, System]) -> str:
    """One line a system, its seven scores, and the interval of its CIDEr."""
    width = max(map(len, systems))
    lines = [" ".join([" " * width, *(f"{title:>7}" for title in TITLES.values()), "   95% of CIDEr"])]
    for name, scores in systems.items():
        cells = [f"{scores[metric]['value']:7.3f}" for metric in METRICS]
        cider = scores["cider"]
        lines.append(" ".join([f"{name:<{width}}", *cells, f"   {cider['low']:.3f} to {cider['high']:.3f}"]))
    return "\n".join(lines)


def verdict(better: str, other: str, found: Mapping[str, Mapping[str, float]]) -> str:
    """The difference between two captioners, in one line a metric that decides."""
    lines = []
    for metric in ("cider", "meteor", "bleu_4"):
        one = found[metric]
        lines.append(
            f"{better} - {other}: {TITLES[metric]:<7} {one['difference']:+.3f}, 95% {one['low']:+.3f} to "
            f"{one['high']:+.3f}, p = {one['p']:.3f}, effect {one['effect']:+.2f}, wins {one['wins']:.0%} of the images"
        )
    return "\n".join(lines)


def write_csv(path: Path, systems: Mapping[str, System]) -> None:
    """Columns system, metric, value, low, high: a row for each bar of the plot."""
    with atomic_write(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["system", "metric", "value", "low", "high"])
        for name, scores in systems.items():
            for metric in METRICS:
                one = scores[metric]
                writer.writerow([name, TITLES[metric], *(f"{one[key]:.4f}" for key in ("value", "low", "high"))])


def write_plot(path: Path, systems: Mapping[str, System]) -> None:
    """A panel a metric, a bar a system with its 95% interval."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(systems)
    figure = Figure(figsize=(12, 1.2 + 0.28 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(METRICS), sharey=True)
    for metric, panel in zip(METRICS, panels, strict=True):
        for row, name in enumerate(names):
            one = systems[name][metric]
            # A percentile interval may lie beside the value by a rounding, and an error bar must not be negative.
            error = [[max(0.0, one["value"] - one["low"])], [max(0.0, one["high"] - one["value"])]]
            panel.barh(row, one["value"], xerr=error, color=f"C{row}", error_kw={"lw": 1, "capsize": 2})
        panel.set_title(TITLES[metric])
        panel.set_xlim(left=0)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    figure.suptitle("Scores of the test images, with 95% bootstrap intervals over images", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(path)
