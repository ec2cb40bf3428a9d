"""A benchmark's outcome as a line of README.md's table and as an entry of results.json."""

from dataclasses import dataclass, field
from typing import Any

from benchmarks.turns import Timed


@dataclass
class Line:
    """One row of the table.

    Attributes:
        path: what was done.
        published, ours: how long it took (median of the rounds), or another figure with its unit.
        factor: how many times faster ours is; None where nothing is published.
        goal: what was aimed at, in words.
        check: whether both computed the same, or how far apart they are.
        figures: all that was measured, for results.json.
    """

    path: str
    published: str
    ours: str
    factor: float | None
    goal: str
    check: str
    figures: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        figures = {
            name: {"seconds": [round(s, 5) for s in value.seconds], "peak_bytes": value.peak}
            if isinstance(value, Timed)
            else value
            for name, value in self.figures.items()
        }
        return {
            "path": self.path, "published": self.published, "ours": self.ours,
            "factor": None if self.factor is None else round(self.factor, 2),
            "goal": self.goal, "check": self.check, **figures,
        }  # fmt: skip


def factor(theirs: Timed, ours: Timed) -> float:
    """How many times faster ours is, by the medians."""
    return theirs.median / ours.median


def ms(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def markdown(lines: list[Line]) -> str:
    """The table for README.md."""
    rows = [
        "| path | published | ours | times faster | goal | same result |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for line in lines:
        times = "" if line.factor is None else f"**{line.factor:.1f}**"
        rows.append(
            f"| {line.path} | {line.published} | {line.ours} | {times} | {line.goal} | {line.check} |"
        )
    return "\n".join(rows)
