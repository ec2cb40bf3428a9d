"""`python -m commands.summary`: a run's results in a few lines. `make repro` ends with it.

Prints the scores of both captioners and of people, whether the captioners' difference is more than chance,
and what to open. Warns if the scores in git's HEAD come from another machine: `dvc metrics diff` and `dvc exp
show` compare with HEAD, and another machine's rounding trains other models.
"""

from __future__ import annotations

import argparse
import subprocess

from captioning.core.errors import UserError, command
from captioning.core.files import read_json
from captioning.core.paths import SCORES
from captioning.evaluation.saved import machine
from captioning.evaluation.tables import probability
from captioning.metrics.coco import TITLES
from commands.compare import BASELINE, RUN, read

SHOWN = ("bleu_4", "meteor", "rouge_l", "cider")
ROWS = {"humans": "people", "lstm": "LSTM", "clipcap": "ClipCap"}


def scores() -> list[str]:
    """Five lines: people's scores, both captioners' scores, and their difference in CIDEr."""
    found = read_json(SCORES, "`dvc repro` writes it, `dvc checkout` restores it")
    lines = [
        f"{found['images']} {found['split']} images".ljust(20) + "".join(f"{TITLES[key]:>9}" for key in SHOWN)
    ]
    for name, title in ROWS.items():
        if one := found["systems"].get(name):
            cells = "".join(f"{one[key]['value']:9.3f}" for key in SHOWN)
            lines.append(
                f"{title:<20}{cells}  (95%: {one['cider']['low']:.3f} to {one['cider']['high']:.3f})"
            )
    cider = found["clipcap_minus_lstm"]["cider"]
    interval = f"95% {cider['low']:+.3f} to {cider['high']:+.3f}"
    test = f"paired test over images: {probability(cider['p'])}, {interval}"
    return [
        *lines,
        f"ClipCap - LSTM: {cider['difference']:+.3f} CIDEr in this run ({test}; other seeds not covered)",
    ]


def foreign() -> list[str]:
    """A warning if the scores in HEAD come from another kind of machine, or from a run that is not here."""
    try:
        if read("HEAD").machine == machine():
            return []
    except UserError:
        pass
    return [
        "warning: `dvc metrics diff` and experiments compare with the scores in HEAD. These are from another",
        "  machine, or from a run that is not here. To compare with your own run, commit it first:",
        f"  {BASELINE}",
    ]


def changed() -> list[str]:
    """How to keep or discard a run that HEAD does not have."""
    files = [name for name in RUN if _git("diff", "--quiet", "HEAD", "--", name)]
    if not files:
        return []
    told = "`dvc metrics diff` shows what changed" if RUN[0] in files else "the scores are equal"
    return [
        f"This run differs from HEAD's in {', '.join(files)}; {told}.",
        f"  To keep it:  {BASELINE.replace('baseline', 'better')}",
        "  To go back:  git checkout params.yaml dvc.lock metrics.json && dvc checkout --force",
    ]


def _git(*arguments: str) -> int:
    return subprocess.run(["git", *arguments], capture_output=True).returncode


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m commands.summary", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--baseline", action="store_true", help="print only the warning about HEAD's scores, if any"
    )
    if parser.parse_args().baseline:
        lines = foreign()
    else:
        lines = [*scores(), "Open results/report.html in a browser: every test picture with its captions."]
        lines += foreign() or changed()
    for line in lines:
        print(line)


if __name__ == "__main__":
    main()
