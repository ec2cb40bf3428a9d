"""Progress in a log: plain lines with a rate that can be read, and scores with four digits."""

import pytest

from captioning.core import progress
from captioning.core.progress import rounded, track


@pytest.mark.parametrize(("seconds", "pace"), [(0.25, "4.0 step/s"), (40.0, "40.0 s/step")])
def test_a_slow_step_is_told_in_seconds(monkeypatch, capsys, seconds, pace):
    times = (seconds * i for i in range(9))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0)
    assert list(track("ab", "toy", unit="step")) == ["a", "b"]
    left = f"{seconds:.0f}"
    assert capsys.readouterr().err.splitlines() == [
        f"toy: 1/2, {left} s left ({pace})",
        f"toy: 2/2, 0 s left ({pace})",
    ]


def test_scores_are_rounded():
    said = {2.523e-06: "0.0000", 0.05: "0.0500", 0.98765: "0.9877", 1.0: "1", 3.14159: "3.142"}
    assert {score: rounded(score) for score in said} == said
    assert rounded(float("nan")) == "nan"
