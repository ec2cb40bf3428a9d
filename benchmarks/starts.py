"""Start-up cost: seconds of CPU time until a stage or a command has imported what it needs.

python -m benchmarks.starts                 # all stages and commands, beside `import torch`; the stages' sum
python -m benchmarks.starts stages.report   # some of them
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROUNDS = 3  # runs; the fastest one counts


def seconds(module: str) -> float:
    """Seconds of CPU time, user and system, of a new Python process that imports a module."""
    found = []
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", f"import {module}"], cwd=ROOT, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.starts", description=__doc__.split("\n")[0])
    parser.add_argument("module", nargs="*", help="all stages and commands by default")
    names = [
        f"{path.parent.name}.{path.stem}"
        for kind in ("stages", "commands")
        for path in sorted(ROOT.glob(f"{kind}/[!_]*.py"))
    ]
    chosen = parser.parse_args().module
    found = {}
    for module in ["torch", *(chosen or [*names, "app.__main__"])]:
        found[module] = seconds(module)
        print(f"{module:<28}{found[module]:6.2f} s", flush=True)
    if not chosen:
        stages = sum(found[name] for name in names if name.startswith("stages.")) + found["stages.generate"]
        print(f"{'all stages (generate twice)':<28}{stages:6.2f} s")


if __name__ == "__main__":
    main()
