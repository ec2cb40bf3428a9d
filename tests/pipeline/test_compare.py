"""`python -m commands.compare` between runs, experiments and settings of a real DVC repository."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from forked import python_m
from made_up_scores import scores, write
from project_copy import ROOT, commit, run

from captioning.evaluation import saved
from captioning.evaluation.bootstrap import Comparison, compare_settings
from captioning.evaluation.saved import Saved
from captioning.metrics.coco import METRICS
from commands.compare import differing, of_machines, settings_lines, verdict
from commands.summary import foreign

# A pipeline of one stage that writes scores for params.yaml's skill, as stage evaluate does, but at once.
STAGE = (
    "stages: {evaluate: "
    "{cmd: python -m stages.write, deps: [stages/write.py], params: [skill], outs: [results/per_image.npz]}}"
)
WRITE = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
from ruamel.yaml import YAML
from made_up_scores import write
write(Path("results/per_image.npz"), YAML(typ="safe").load(open("params.yaml"))["skill"])
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository: main has skill 0.5, the experiment `better` 0.9, the experiment `noise` 0.501; the
    workspace is main's."""
    folder = tmp_path_factory.mktemp("repository")
    run(folder, "git", "init", "--quiet", "--initial-branch=main")
    (folder / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, folder / ".dvc")
    (folder / "dvc.yaml").write_text(STAGE)
    (folder / "params.yaml").write_text("skill: 0.5\n")
    (folder / "stages").mkdir()
    (folder / "stages/write.py").write_text(WRITE.format(paths=[str(ROOT), str(ROOT / "tests")]))
    (folder / ".gitignore").write_text("/results\n")
    run(folder, "dvc", "repro", "--quiet")
    commit(folder, "scores")
    for name, skill in (("better", 0.9), ("noise", 0.501)):
        run(folder, "dvc", "exp", "run", "--quiet", "--name", name, "--set-param", f"skill={skill}")
    run(folder, "git", "checkout", "--quiet", "--force", "main")
    run(folder, "dvc", "checkout", "--quiet")
    return folder


def compare(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return python_m(folder, "commands.compare", *arguments)


def test_an_experiment_that_is_better_and_one_that_is_noise(repository):
    done = compare(repository, "main", "better")
    assert done.returncode == 0, done.stderr
    assert "settings that differ: skill 0.5 -> 0.9\n" in done.stdout
    assert "clipcap: better is better than main by" in done.stdout and "by luck" not in done.stdout
    assert "lstm: the scores of each image are equal\n" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    done = compare(repository, "main", "noise", "--captioner", "clipcap")
    assert "the choice of test images can explain the difference in CIDEr" in done.stdout
    assert "lstm" not in done.stdout


def test_what_the_seed_alone_does_is_no_progress(repository):
    better = Comparison(difference=0.05, low=0.01, high=0.09, p=0.001, effect=0.2, wins=0.6)
    assert verdict(["a", "b"], "lstm", better, {"seed"}).endswith("by luck: only the seed differs")
    assert verdict(["a", "b"], "lstm", better, {"seed", "lstm.dropout"}).endswith("CIDEr on these images")
    assert differing(["main", "noise"], repository) == {"skill": (0.5, 0.501)}
    assert differing(["main", "workspace"], repository) == {}
    assert differing(["main", "nonsense"], repository) is None


def test_the_workspace_is_the_other_by_default_and_json_is_complete(repository):
    done = compare(repository, "better", "--json")
    found = json.loads(done.stdout)
    assert list(found) == ["clipcap", "lstm"] and list(found["clipcap"]) == list(METRICS)
    cider = found["clipcap"]["cider"]
    assert cider["high"] < 0 and cider["p"] < 0.01, "the workspace is main's, and worse"
    assert (
        json.loads(compare(repository, "HEAD", "main", "--json").stdout)["clipcap"]["cider"]["difference"]
        == 0
    )


def test_the_interval_covers_seeds_and_images():
    """Settings that differ only by the luck of their seeds differ by more than the interval in about 5 of 100
    trials."""
    generator, missed, trials = np.random.default_rng(0), 0, 120
    for _ in range(trials):
        luck = generator.normal(0.6, 0.08, 6)  # luck of seeds, far wider than that of images
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


def test_sets_of_runs_are_compared_and_refused(repository):
    done = compare(repository, "main", "better", "--", "noise", "workspace")
    assert done.returncode == 1 and "main and better are on one side and differ in skill" in done.stderr
    done = compare(repository, "main", "better", "noise")
    assert done.returncode == 1 and "put `--` between" in done.stderr
    done = compare(repository, "main", "--", "better")
    assert done.returncode == 1 and "two or more runs on each side" in done.stderr
    done = compare(repository, "main", "workspace", "--", "better", "noise")
    assert done.returncode == 1 and "nothing, the seed included" in done.stderr


def test_runs_of_another_machine_are_marked():
    one = Saved({}, "", "x86_64 AVX2 without bf16 units, torch 2")
    other = Saved({}, "", "x86_64 AVX512 with bf16 units, torch 2")
    assert of_machines([one, one], ["a", "b"]) == []
    told = " ".join(of_machines([one, other], ["a", "b"]))
    assert (
        told.startswith("warning: these runs are from different machines") and "b: x86_64 AVX512 with" in told
    )


def test_scores_of_another_machine_in_head(repository, monkeypatch):
    monkeypatch.chdir(repository)
    assert foreign() == []
    monkeypatch.setattr("commands.summary.machine", lambda: "another kind")
    assert foreign()[0].startswith("warning: `dvc metrics diff` and experiments")
    monkeypatch.setattr(saved, "machine", lambda: "another kind")
    path = repository / "results/per_image.npz"
    path.unlink()
    write(path, 0.9)
    done = compare(repository, "HEAD")
    assert done.returncode == 0 and "warning: these runs are from different machines" in done.stdout
    run(repository, "dvc", "checkout", "--force", "--quiet")


def test_faults_are_told_in_a_line(repository, tmp_path):
    done = compare(repository, "main", "nonsense")
    assert done.returncode == 1 and "'nonsense' is not a known revision or experiment" in done.stderr
    done = compare(repository, "main", "better", "--captioner", "gpt")
    assert "--captioner gpt: all of the runs scored clipcap, lstm" in done.stderr
    done = compare(tmp_path, "workspace", "workspace")
    assert "the workspace has no results/per_image.npz" in done.stderr
    results = repository / "results/per_image.npz"
    results.unlink()  # DVC may have made it a link to its cache
    write(results, 0.5, reference="a cat")
    done = compare(repository, "main")
    assert done.returncode == 1 and "different references" in done.stderr
    run(repository, "dvc", "checkout", "--force", "--quiet")


def test_a_head_whose_outputs_are_not_here_is_told_in_a_sentence(repository):
    lock = repository / "dvc.lock"
    before = lock.read_text()
    [digest] = [line.split()[-1] for line in before.splitlines() if line.strip().startswith("md5: ")][-1:]
    lock.write_text(before.replace(digest, "0" * 32))
    run(repository, "git", "commit", "--quiet", "--message", "another machine's", "dvc.lock")
    done = compare(repository, "HEAD")
    assert done.returncode == 1 and "are not here: its results" in done.stderr
    assert "git commit -m baseline metrics.json dvc.lock params.yaml" in done.stderr
