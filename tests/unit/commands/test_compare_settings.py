"""Two settings over seeds, and scores of another machine, which no command may pass over in silence."""

from __future__ import annotations

import numpy as np
import pytest
from test_compare import compare, repository, run, scores, write  # noqa: F401 (repository is a fixture)

from captioning.evaluation import saved
from captioning.evaluation.bootstrap import compare_settings
from captioning.evaluation.saved import Saved
from commands.compare import of_machines, settings_lines
from commands.summary import foreign


def test_the_interval_covers_seeds_and_images():
    """Settings that are equal but for their seeds' luck differ by more than the interval in about 5 of 100 trials."""
    generator, missed, trials = np.random.default_rng(0), 0, 120
    for _ in range(trials):
        luck = generator.normal(0.6, 0.08, 6)  # of seeds, far wider than the choice of images
        runs = [scores(round(float(skill), 4)) for skill in luck]
        found = compare_settings(runs[:3], runs[3:], 200, seed=1)["cider"]
        missed += not found.low <= 0 <= found.high
    assert missed / trials < 0.11


def test_a_better_setting_is_found_and_runs_of_no_luck_leave_the_images():
    good, poor = [scores(0.9), scores(0.91), scores(0.89)], [scores(0.5), scores(0.51), scores(0.49)]
    found = compare_settings(good, poor, 500, seed=0)["cider"]
    assert found.low > 0.1 and found.difference == pytest.approx(found.a - found.b)
    told = settings_lines("clipcap", compare_settings(good, poor, 500, seed=0))
    assert told[-1].startswith("clipcap: the setting of b is better by 0.2")
    same = compare_settings(poor, poor, 500, seed=0)["cider"]
    assert same.difference == 0 and same.low < 0 < same.high
    with pytest.raises(ValueError, match="two runs"):
        compare_settings(good[:1], poor, 100, seed=0)


def test_sets_of_runs_are_compared_and_refused(repository):  # noqa: F811
    done = compare(repository, "main", "better", "--", "noise", "workspace")
    assert done.returncode == 1 and "main and better stand on one side and differ in skill" in done.stderr
    done = compare(repository, "main", "better", "noise")
    assert done.returncode == 1 and "put `--` between" in done.stderr
    done = compare(repository, "main", "--", "better")
    assert done.returncode == 1 and "two runs or more on each side" in done.stderr
    done = compare(repository, "main", "workspace", "--", "better", "noise")
    assert done.returncode == 1 and "nothing, the seed included" in done.stderr


def test_runs_of_another_machine_are_marked():
    one = Saved({}, "", "x86_64 AVX2 without bf16 units, torch 2")
    other = Saved({}, "", "x86_64 AVX512 with bf16 units, torch 2")
    assert of_machines([one, one], ["a", "b"]) == []
    told = " ".join(of_machines([one, other], ["a", "b"]))
    assert told.startswith("warning: these are runs of different machines") and "b: x86_64 AVX512 with" in told


def test_scores_of_another_machine_in_head(repository, monkeypatch):  # noqa: F811
    monkeypatch.chdir(repository)
    assert foreign() == []
    monkeypatch.setattr("commands.summary.machine", lambda: "another kind")
    assert foreign()[0].startswith("warning: the scores in HEAD")
    monkeypatch.setattr(saved, "machine", lambda: "another kind")
    path = repository / "results/per_image.npz"
    path.unlink()
    write(path, 0.9)
    done = compare(repository, "HEAD")
    assert done.returncode == 0 and "warning: these are runs of different machines" in done.stdout
    run(repository, "dvc", "checkout", "--force", "--quiet")


def test_a_head_whose_outputs_are_not_here_is_told_in_a_sentence(repository):  # noqa: F811
    lock = repository / "dvc.lock"
    before = lock.read_text()
    [digest] = [line.split()[-1] for line in before.splitlines() if line.strip().startswith("md5: ")][-1:]
    lock.write_text(before.replace(digest, "0" * 32))
    run(repository, "git", "commit", "--quiet", "--message", "another machine's", "dvc.lock")
    done = compare(repository, "HEAD")
    assert done.returncode == 1 and "are not of a run made here" in done.stderr
    assert "git commit -m baseline metrics.json dvc.lock params.yaml" in done.stderr
