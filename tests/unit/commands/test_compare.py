"""`python -m commands.compare` between revisions and experiments of a real DVC repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from captioning.evaluation.bootstrap import Comparison
from captioning.evaluation.saved import save
from captioning.metrics.coco import METRICS, Scores
from commands.compare import differing, verdict

ROOT = Path(__file__).parents[3]
IMAGES = 60
# A pipeline of one stage that writes scores for params.yaml's skill, as stage evaluate does, but at once.
STAGE = "stages: {evaluate: {cmd: python write.py, deps: [write.py], params: [skill], outs: [results/per_image.npz]}}"
WRITE = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
from ruamel.yaml import YAML
from test_compare import write
write(Path("results/per_image.npz"), YAML(typ="safe").load(open("params.yaml"))["skill"])
"""


def scores(skill: float) -> Scores:
    """Made-up scores of IMAGES images. Higher `skill` gives better scores; an image has the same difficulty
    in each set."""
    hard = np.random.default_rng(0).uniform(0.2, 1, IMAGES)
    noise = np.random.default_rng(int(skill * 1000)).normal(0, 0.1, IMAGES)
    cider = np.clip(skill * hard + noise, 0, None)
    right = np.clip(np.round(8 * cider), 1, 10).astype(np.int64)
    matched = [np.maximum(right - n, 0) for n in range(4)]
    lengths = [np.full(IMAGES, length) for length in (10, 9, 8, 7, 10, 10)]
    bleu = np.stack([*matched, *lengths], axis=1)  # (N, 10)
    meteor = np.zeros((IMAGES, 23))
    meteor[:, [0, 1]] = 10
    meteor[:, 4] = meteor[:, 5] = right
    meteor[:, 20], meteor[:, 21], meteor[:, 22] = 2, 10, 10
    return Scores(
        ids=[f"im{n}" for n in range(IMAGES)],
        corpus=dict.fromkeys(METRICS, float(cider.mean())),
        per_image=dict.fromkeys(METRICS, cider),
        bleu_statistics=bleu,
        meteor_statistics=meteor,
    )


def write(path: Path, skill: float, reference: str = "a dog") -> None:
    save(path, {"clipcap": scores(skill), "lstm": scores(0.5)}, {f"im{n}": [reference] for n in range(IMAGES)})


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository: main has skill 0.5, the experiment `better` 0.9, the experiment `noise` 0.501; the
    workspace is main's."""
    folder = tmp_path_factory.mktemp("repository")
    run(folder, "git", "init", "--quiet", "--initial-branch=main")
    run(folder, "dvc", "init", "--quiet")
    (folder / ".dvc/config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    (folder / "dvc.yaml").write_text(STAGE)
    (folder / "params.yaml").write_text("skill: 0.5\n")
    (folder / "write.py").write_text(WRITE.format(paths=[str(ROOT), str(Path(__file__).parent)]))
    (folder / ".gitignore").write_text("/results\n")
    run(folder, "dvc", "repro", "--quiet")
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", "scores")
    for name, skill in (("better", 0.9), ("noise", 0.501)):
        run(folder, "dvc", "exp", "run", "--quiet", "--name", name, "--set-param", f"skill={skill}")
    run(folder, "git", "checkout", "--quiet", "--force", "main")
    run(folder, "dvc", "checkout", "--quiet")
    return folder


def run(folder: Path, *command: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    who = {f"GIT_{role}_{key}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    environment = os.environ | who | {"PATH": path, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def compare(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "commands.compare", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


def test_an_experiment_that_is_better_and_one_that_is_noise(repository):
    done = compare(repository, "main", "better")
    assert done.returncode == 0, done.stderr
    assert "settings that differ: skill 0.5 -> 0.9\n" in done.stdout
    assert "clipcap: better is better than main by" in done.stdout and "by luck" not in done.stdout
    assert "lstm: no difference in CIDEr" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    done = compare(repository, "main", "noise", "--captioner", "clipcap")
    assert "no difference in CIDEr that the choice of test images would not explain" in done.stdout
    assert "lstm" not in done.stdout


def test_what_the_seed_alone_does_is_no_progress(repository):
    better = Comparison(difference=0.05, low=0.01, high=0.09, p=0.001, effect=0.2, wins=0.6)
    assert verdict(["a", "b"], "lstm", better, {"seed"}).endswith("by luck: nothing but the seed differs")
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
    assert json.loads(compare(repository, "HEAD", "main", "--json").stdout)["clipcap"]["cider"]["difference"] == 0


def test_faults_are_told_in_a_line(repository, tmp_path):
    done = compare(repository, "main", "nonsense")
    assert done.returncode == 1 and "'nonsense' is no revision or experiment known here" in done.stderr
    done = compare(repository, "main", "better", "--captioner", "gpt")
    assert "--captioner gpt: both runs scored clipcap, lstm" in done.stderr
    done = compare(tmp_path, "workspace", "workspace")
    assert "the workspace has no results/per_image.npz" in done.stderr
    results = repository / "results/per_image.npz"
    results.unlink()  # DVC may have made it a link to its cache
    write(results, 0.5, reference="a cat")
    done = compare(repository, "main")
    assert done.returncode == 1 and "different references" in done.stderr
