"""Two runs on the same images, tested in pairs: is a difference in the scores more than noise?

    python -m commands.compare main workspace              # revisions: branches, tags, commits, or the workspace
    python -m commands.compare fixed-cider exp-b --captioner clipcap

Any two revisions or experiments that DVC knows (`dvc exp show` lists them) whose stage evaluate has run; nothing is run
or checked out, and the settings that differ are named. What the intervals cover is the choice of test images, not the
luck of a training's seed: to tell a setting from luck, train both with several seeds.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from captioning.core.errors import UserError, command
from captioning.evaluation.bootstrap import Comparison, bootstrap, compare, interval
from captioning.evaluation.saved import load
from captioning.metrics.coco import METRICS, TITLES, Scores

FILE = "results/per_image.npz"
PARAMS = "params.yaml"
WORKSPACE = "workspace"
ENOUGH = 0.05  # of the p of CIDEr, beside an interval that leaves out 0


def read(revision: str, root: Path = Path(".")) -> tuple[dict[str, Scores], str]:
    """({captioner: Scores}, fingerprint of the references) of a revision, an experiment or the workspace."""
    if revision == WORKSPACE:
        path = root / FILE
        if not path.exists():
            raise UserError(
                f"the workspace has no {FILE}: `dvc repro` scores and writes it, `dvc checkout` restores it"
            )
        return load(path.read_bytes(), WORKSPACE)

    from dvc.api import DVCFileSystem  # takes a second
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    try:
        content = DVCFileSystem(str(root), rev=revision).read_bytes(FILE)
    except SCMError:
        raise UserError(
            f"{revision!r} is no revision or experiment known here: `dvc exp show` and `git branch --all` list them"
        ) from None
    except (OSError, DvcException) as error:
        raise UserError(
            f"{FILE} of {revision} is not to be had ({' '.join(str(error).split())}): its stage evaluate has not run, "
            "or its outputs are neither in DVC's cache nor in a remote"
        ) from None
    return load(content, revision)


def differing(names: Sequence[str], root: Path = Path(".")) -> dict[str, tuple[Any, Any]] | None:
    """{dotted key: its two values} of the settings that differ, or None where a params.yaml is not to be had."""
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    flat = []
    for name in names:
        try:
            revision = None if name == WORKSPACE else name
            text = DVCFileSystem(str(root), rev=revision).read_text(PARAMS, encoding="utf-8")
            flat.append(dict(_flat(YAML(typ="safe", pure=True).load(text))))
        except (OSError, DvcException, SCMError, YAMLError):
            return None
    a, b = flat
    return {key: (a.get(key), b.get(key)) for key in a | b if a.get(key) != b.get(key)}


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(values, dict):
        yield prefix.removesuffix("."), values
        return
    for key, value in values.items():
        yield from _flat(value, f"{prefix}{key}.")


def comparable(a: tuple[dict[str, Scores], str], b: tuple[dict[str, Scores], str], names: Sequence[str]) -> None:
    """Raises UserError unless both were scored on the same images against the same references."""
    ids = [next(iter(scores.values())).ids for scores, _ in (a, b)]
    if ids[0] != ids[1]:
        raise UserError(
            f"{names[0]} was scored on {len(ids[0])} images and {names[1]} on {len(ids[1])}, of which "
            f"{len({*ids[0]} & {*ids[1]})} are the same: a paired test needs the same ones"
        )
    if a[1] != b[1]:
        raise UserError(f"{names[0]} and {names[1]} were scored against different references: their data differ")


def table(names: Sequence[str], a: Scores, b: Scores, found: dict[str, Comparison], count: int, seed: int) -> list[str]:
    """Lines of at most 100 columns: one a metric, b - a."""
    short = [name if len(name) <= 19 else name[:18] + "…" for name in names]
    lines = [f"{'':<8} {short[0]:>19} {short[1]:>19}  difference         95%             p  effect  wins"]
    low_high = [{name: interval(values) for name, values in bootstrap(one, count, seed).items()} for one in (a, b)]
    for metric in METRICS:
        one = found[metric]
        cells = [
            f"{scores.corpus[metric]:.3f} [{ends[metric][0]:.3f} {ends[metric][1]:.3f}]"
            for scores, ends in zip((a, b), low_high, strict=True)
        ]
        lines.append(
            f"{TITLES[metric]:<8} {cells[0]:>19} {cells[1]:>19}  {one.difference:+10.3f}  {one.low:+.3f} to "
            f"{one.high:+.3f}  {one.p:.3f}  {one.effect:+6.2f}  {one.wins:4.0%}"
        )
    return lines


def verdict(names: Sequence[str], captioner: str, one: Comparison, changed: Collection[str] | None = None) -> str:
    """What the test of CIDEr allows to say, where `changed` are the settings that differ."""
    if one.low <= 0 <= one.high or one.p > ENOUGH:
        return f"{captioner}: no difference in CIDEr that the choice of test images would not explain"
    better, worse = (names[1], names[0]) if one.difference > 0 else (names[0], names[1])
    said = f"{captioner}: {better} is better than {worse} by {abs(one.difference):.3f} CIDEr on these images"
    return said + (
        ", by luck: nothing but the seed differs" if changed is not None and set(changed) == {"seed"} else ""
    )


@command
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m commands.compare",
        description="Compares two revisions or experiments, image by image: intervals and a paired test, b - a.",
    )
    parser.add_argument("a", help="a branch, tag, commit or experiment; `workspace` for the files as they lie here")
    parser.add_argument("b", nargs="?", default=WORKSPACE, help="the other; the workspace by default")
    parser.add_argument("--captioner", help="one of those scored, such as clipcap; all by default")
    parser.add_argument("--resamples", type=int, default=2000, help="of bootstrap and permutation (2000)")
    parser.add_argument("--seed", type=int, default=0, help="of both (0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    given = parser.parse_args(arguments)
    if given.resamples < 100:
        raise UserError(f"--resamples {given.resamples}: expected 100 or more, for a 95% interval")
    if given.seed < 0:
        raise UserError(f"--seed {given.seed}: expected 0 or more")
    names = (given.a, given.b)
    runs = [read(name) for name in names]
    comparable(*runs, names)
    both = [name for name in runs[0][0] if name in runs[1][0]]
    chosen = both if given.captioner is None else [name for name in both if name == given.captioner]
    if not chosen:
        raise UserError(
            f"--captioner {given.captioner}: both runs scored {', '.join(both) or 'no captioner in common'}"
        )
    found = {
        name: compare(runs[1][0][name], runs[0][0][name], given.resamples, given.seed) for name in chosen
    }  # fmt: skip
    if given.json:
        print(json.dumps({name: {key: asdict(one) for key, one in of.items()} for name, of in found.items()}, indent=2))
        return
    print(f"{len(next(iter(runs[0][0].values())).ids)} images; differences are {given.b} - {given.a}")
    changed = differing(names)
    if changed is not None:
        told = ", ".join(f"{key} {a} -> {b}" for key, (a, b) in changed.items()) or "none"
        print("\n".join(textwrap.wrap(f"settings that differ: {told}", 100, subsequent_indent="  ")))
    for name in chosen:
        print(f"\n{name}")
        print("\n".join(table(names, runs[0][0][name], runs[1][0][name], found[name], given.resamples, given.seed)))
        print(verdict(names, name, found[name]["cider"], changed))
    print("\nTested is the choice of images. Another seed trains another model: a small gain needs several seeds.")


if __name__ == "__main__":
    main()
