"""Two runs on the same images, tested in pairs: is a difference in the scores more than noise?

    python -m captioning.compare main workspace              # revisions: branches, tags, commits, or the workspace
    python -m captioning.compare fixed-cider exp-b --captioner clipcap

Any two revisions or experiments that DVC knows (`dvc exp show` lists them) whose stage evaluate has run; nothing is run
or checked out. What the intervals cover is the choice of test images, not the luck of a training's seed: to tell a
setting from luck, train both with several seeds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from captioning.errors import UserError, command
from captioning.saved_scores import load
from captioning.score_tables import TITLES
from captioning.scoring import METRICS, Scores
from captioning.statistics import Comparison, bootstrap, compare, interval

FILE = "results/per_image.npz"
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


def comparable(a: tuple[dict[str, Scores], str], b: tuple[dict[str, Scores], str], names: Sequence[str]) -> None:
    """Raises UserError unless both were scored on the same images against the same references."""
    ids = [next(iter(scores.values())).ids for scores, _ in (a, b)]
    if ids[0] != ids[1]:
        raise UserError(
            f"{names[0]} was scored on {len(ids[0])} images and {names[1]} on {len(ids[1])}, of which "
            f"{len({*ids[0]} & {*ids[1]})} are the same: a paired test needs the same test split"
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


def verdict(names: Sequence[str], captioner: str, one: Comparison) -> str:
    """What the test of CIDEr allows to say."""
    if one.low <= 0 <= one.high or one.p > ENOUGH:
        return f"{captioner}: no difference in CIDEr that the choice of test images would not explain"
    better, worse = (names[1], names[0]) if one.difference > 0 else (names[0], names[1])
    return f"{captioner}: {better} is better than {worse} by {abs(one.difference):.3f} CIDEr on these images"


@command
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m captioning.compare",
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
    for name in chosen:
        print(f"\n{name}")
        print("\n".join(table(names, runs[0][0][name], runs[1][0][name], found[name], given.resamples, given.seed)))
        print(verdict(names, name, found[name]["cider"]))


if __name__ == "__main__":
    main()
