"""Tests two runs on the same images: is a difference in the scores more than noise?

    python -m commands.compare main workspace          # revisions: branches, tags, commits, or the workspace
    python -m commands.compare fixed-cider exp-b --captioner clipcap

    python -m commands.compare a1 a2 a3 -- b1 b2 b3    # two settings, each trained with several seeds

Compares revisions or experiments that DVC knows (`dvc exp show` lists them) and whose stage evaluate has run.
Nothing is run or checked out. The output names the settings that differ. The intervals cover the choice of
test images, not the training seed. To test a setting, train both variants with several seeds and name both
sets, with `--` between them. Processors round differently and so train different models. If kinds of machine
differ, the output has a warning.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from captioning.core.errors import UserError, command
from captioning.core.paths import PARAMS, PER_IMAGE
from captioning.core.yaml_files import parse_yaml
from captioning.evaluation.bootstrap import (
    Comparison,
    Settings,
    bootstrap,
    compare,
    compare_settings,
    interval,
)
from captioning.evaluation.saved import Saved, load
from captioning.metrics.coco import METRICS, TITLES, Scores

WORKSPACE = "workspace"
RUN = ("metrics.json", "dvc.lock", "params.yaml")  # what git keeps of a run
BASELINE = f"git commit -m baseline {' '.join(RUN)}"
ENOUGH = 0.05  # threshold for CIDEr's p; the interval must also exclude 0


def read(revision: str, root: Path = Path(".")) -> Saved:
    """Reads the scores of a revision, an experiment or the workspace."""
    if revision == WORKSPACE:
        path = root / PER_IMAGE
        if not path.exists():
            raise UserError(
                f"the workspace has no {PER_IMAGE}: `dvc repro` scores and writes it, "
                "`dvc checkout` restores it"
            )
        return load(path.read_bytes(), WORKSPACE)

    from dvc.api import DVCFileSystem  # takes a second
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    try:
        content = DVCFileSystem(str(root), rev=revision).read_bytes(str(PER_IMAGE))
    except SCMError:
        raise UserError(
            f"{revision!r} is not a known revision or experiment: "
            "`dvc exp show` and `git branch --all` list them"
        ) from None
    except (OSError, DvcException) as error:
        raise UserError(
            f"the scores of {revision} are not here: its {PER_IMAGE} is neither in DVC's cache nor in a "
            f"remote ({' '.join(str(error).split())}). Run it here (git checkout {revision} && dvc repro). "
            f"Or make a run of your own the baseline: {BASELINE}"
        ) from None
    return load(content, revision)


def differing(names: Sequence[str], root: Path = Path(".")) -> dict[str, tuple[Any, Any]] | None:
    """{dotted key: its two values} of the settings that differ, or None if a params.yaml cannot be read."""
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    flat = []
    for name in names:
        try:
            revision = None if name == WORKSPACE else name
            content = DVCFileSystem(str(root), rev=revision).read_bytes(str(PARAMS))
            flat.append(dict(_flat(parse_yaml(content, f"{PARAMS} of {name}"))))
        except (OSError, DvcException, SCMError, UserError):
            return None
    a, b = flat
    return {key: (a.get(key), b.get(key)) for key in a | b if a.get(key) != b.get(key)}


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(values, dict):
        yield prefix.removesuffix("."), values
        return
    for key, value in values.items():
        yield from _flat(value, f"{prefix}{key}.")


def comparable(a: Saved, b: Saved, names: Sequence[str]) -> None:
    """Raises UserError unless both runs were scored on the same images against the same references."""
    ids = [next(iter(run.scores.values())).ids for run in (a, b)]
    if ids[0] != ids[1]:
        raise UserError(
            f"{names[0]} was scored on {len(ids[0])} images and {names[1]} on {len(ids[1])}; both have "
            f"{len({*ids[0]} & {*ids[1]})} of them: a paired test needs the same images"
        )
    if a.references != b.references:
        raise UserError(
            f"{names[0]} and {names[1]} were scored against different references: their data differ"
        )


def table(
    names: Sequence[str], a: Scores, b: Scores, found: dict[str, Comparison], count: int, seed: int
) -> list[str]:
    """Lines of at most 100 columns, one for each metric: b - a."""
    short = [name if len(name) <= 19 else name[:18] + "…" for name in names]
    lines = [f"{'':<8} {short[0]:>19} {short[1]:>19}  difference         95%             p  effect  wins"]
    resampled = [(scores, bootstrap(scores, count, seed)) for scores in (a, b)]
    for metric in METRICS:
        one, cells = found[metric], []
        for scores, values in resampled:
            low, high = interval(values[metric])
            cells.append(f"{scores.corpus[metric]:.3f} [{low:.3f} {high:.3f}]")
        lines.append(
            f"{TITLES[metric]:<8} {cells[0]:>19} {cells[1]:>19}  {one.difference:+10.3f}  {one.low:+.3f} to "
            f"{one.high:+.3f}  {one.p:.3f}  {one.effect:+6.2f}  {one.wins:4.0%}"
        )
    return lines


def verdict(
    names: Sequence[str], captioner: str, one: Comparison, changed: Collection[str] | None = None
) -> str:
    """The conclusion from CIDEr's test. `changed` are the settings that differ."""
    if one.low <= 0 <= one.high or one.p > ENOUGH:
        return f"{captioner}: the choice of test images can explain the difference in CIDEr"
    better, worse = (names[1], names[0]) if one.difference > 0 else (names[0], names[1])
    said = f"{captioner}: {better} is better than {worse} by {abs(one.difference):.3f} CIDEr on these images"
    luck = changed is not None and set(changed) == {"seed"}
    return f"{said}, by luck: only the seed differs" if luck else said


def of_machines(runs: Sequence[Saved], names: Sequence[str]) -> list[str]:
    """A warning if the runs were scored on different kinds of machine, which affects every difference."""
    kinds: dict[str, list[str]] = {}
    for name, run in zip(names, runs, strict=True):
        kinds.setdefault(run.machine or "a machine that was not recorded", []).append(name)
    if len(kinds) < 2:
        return []
    told = "; ".join(f"{', '.join(of)}: {kind}" for kind, of in kinds.items())
    what = "warning: these runs are from different machines, which train different models from equal settings"
    return textwrap.wrap(f"{what} ({told})", 100, subsequent_indent="  ")


def seeds_alone(side: Sequence[str]) -> None:
    """Raises UserError unless the runs of one setting differ only in their seed."""
    for n, one in enumerate(side):
        for other in side[n + 1 :]:
            changed = differing((one, other))
            if changed is not None and set(changed) != {"seed"}:
                told = ", ".join(sorted(set(changed) - {"seed"})) or "nothing, the seed included"
                what = f"{one} and {other} are on one side and differ in {told}"
                raise UserError(f"{what}: runs of one setting must differ in `seed` only")


def settings_lines(captioner: str, found: dict[str, Settings]) -> list[str]:
    """A table of two settings, b - a, and the conclusion."""
    lines = [captioner, f"{'':<8} {'mean of a':>9} {'mean of b':>9}  difference  95% over images and seeds"]
    for metric in METRICS:
        one = found[metric]
        lines.append(
            f"{TITLES[metric]:<8} {one.b:9.3f} {one.a:9.3f}  {one.difference:+10.3f}  {one.low:+.3f} to "
            f"{one.high:+.3f}"
        )
    cider = found["cider"]
    if cider.low <= 0 <= cider.high:
        return [*lines, f"{captioner}: the choice of images and seeds can explain the difference in CIDEr"]
    better = "b" if cider.difference > 0 else "a"
    return [*lines, f"{captioner}: the setting of {better} is better by {abs(cider.difference):.3f} CIDEr"]


def of_settings(sides: Sequence[Sequence[str]], given: argparse.Namespace) -> None:
    """Compares two settings, each with runs of several seeds."""
    if min(map(len, sides)) < 2:
        raise UserError("give two or more runs on each side of `--`; three or more give a much safer answer")
    for side in sides:
        seeds_alone(side)
    names = [name for side in sides for name in side]
    runs = [read(name) for name in names]
    for name, run in zip(names[1:], runs[1:], strict=True):
        comparable(runs[0], run, (names[0], name))
    chosen = captioners(runs, given.captioner)
    a, b = runs[: len(sides[0])], runs[len(sides[0]) :]
    found = {}
    for name in chosen:
        of_a, of_b = ([run.scores[name] for run in side] for side in (a, b))
        found[name] = compare_settings(of_b, of_a, given.resamples, given.seed)
    warnings = of_machines(runs, names)
    if given.json:
        print(as_json(found, warnings))
        return
    images = len(next(iter(runs[0].scores.values())).ids)
    print(f"{images} images; a: {', '.join(sides[0])}; b: {', '.join(sides[1])}")
    changed = (differing((sides[0][0], sides[1][0])) or {}) | {"seed": None}
    print("\n".join([*warnings, *changed_lines(changed)]))
    for name in chosen:
        print("\n" + "\n".join(settings_lines(name, found[name])))


def of_runs(names: tuple[str, str], given: argparse.Namespace) -> None:
    """Compares two runs."""
    runs = [read(name) for name in names]
    comparable(*runs, names)
    chosen, warnings = captioners(runs, given.captioner), of_machines(runs, names)
    a, b = (run.scores for run in runs)
    found = {name: compare(b[name], a[name], given.resamples, given.seed) for name in chosen}
    if given.json:
        print(as_json(found, warnings))
        return
    print(f"{len(next(iter(a.values())).ids)} images; differences are {names[1]} - {names[0]}")
    changed = differing(names)
    print("\n".join([*warnings, *(changed_lines(changed) if changed is not None else [])]))
    for name in chosen:
        if all(one.low == one.high == 0 for one in found[name].values()):
            print(f"\n{name}: the scores of each image are equal")
            continue
        print(f"\n{name}")
        print("\n".join(table(names, a[name], b[name], found[name], given.resamples, given.seed)))
        print(verdict(names, name, found[name]["cider"], changed))
    print("\nThe test covers the choice of images, not the seed: a small gain needs several seeds.")


def captioners(runs: Sequence[Saved], wanted: str | None) -> list[str]:
    """The captioners that all runs scored, or only the requested one."""
    common = [name for name in runs[0].scores if all(name in run.scores for run in runs)]
    chosen = common if wanted is None else [name for name in common if name == wanted]
    if not common:
        raise UserError("the runs have no captioner in common: compare runs that scored the same ones")
    if not chosen:
        raise UserError(f"--captioner {wanted}: all of the runs scored {', '.join(common)}")
    return chosen


def as_json(found: dict[str, dict], warnings: list[str]) -> str:
    """The comparisons as JSON. Prints the warnings on standard error: standard output is pure JSON."""
    for warning in warnings:
        print(warning, file=sys.stderr)
    plain = {name: {key: asdict(one) for key, one in of.items()} for name, of in found.items()}
    return json.dumps(plain, indent=2)


def changed_lines(changed: dict[str, Any]) -> list[str]:
    """The settings that differ, as lines of at most 100 columns."""
    told = ", ".join(f"{key} {pair[0]} -> {pair[1]}" for key, pair in changed.items() if pair) or "none"
    return textwrap.wrap(f"settings that differ: {told}", 100, subsequent_indent="  ")


@command
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m commands.compare",
        description="Compares two revisions or experiments image by image: intervals and a paired test.",
    )
    parser.add_argument(
        "runs", nargs="+", metavar="run",
        help="two branches, tags, commits or experiments, a and b; without b, `workspace` (the files as they "
        "are here); or several seeds of two settings: a1 a2 a3 -- b1 b2 b3",
    )  # fmt: skip
    parser.add_argument("--captioner", help="one that both scored, such as clipcap; default: all")
    parser.add_argument("--resamples", type=int, default=2000, help="number of resamples; default: 2000")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling; default: 0")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    typed = list(sys.argv[1:] if arguments is None else arguments)
    at = typed.index("--") if "--" in typed else len(typed)
    given = parser.parse_args(typed[:at])
    sides = [given.runs]
    if at < len(typed):
        given = parser.parse_args(typed[at + 1 :], given)
        sides.append(given.runs)
    if given.resamples < 100:
        raise UserError(f"--resamples {given.resamples}: expected 100 or more, for a 95% interval")
    if given.seed < 0:
        raise UserError(f"--seed {given.seed}: expected 0 or more")
    if len(sides) == 2:
        of_settings(sides, given)
    elif len(sides[0]) <= 2:
        of_runs((*sides[0], WORKSPACE)[:2], given)
    else:
        raise UserError("more than two runs: put `--` between the runs of one setting and those of the other")


if __name__ == "__main__":
    main()
