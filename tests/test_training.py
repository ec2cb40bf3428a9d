"""The training loop: a kill costs an epoch and changes nothing, NaN is named, early stopping keeps the best epoch."""

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from captioning.errors import UserError
from captioning.settings import Training
from captioning.training import Job, fit, learning_rate

ROOT = Path(__file__).parent.parent
STEPS = 6


def options(**changes) -> Training:
    values = {
        "epochs": 5, "batch_size": 8, "lr": 0.05, "weight_decay": 0.1, "warmup": 0.2, "clip_norm": 1.0,
        "patience": 10, "precision": "fp32",
    }  # fmt: skip
    return Training(**values | changes)


def job(seed: int = 0, inputs: str = "data", slow: float = 0.0) -> Job:
    """Regression by a network with dropout, so that an epoch's random numbers matter."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))
    target = torch.tensor([1.0, -2.0, 0.5, 3.0])

    def batches(epoch: int):
        rng = np.random.default_rng([seed, epoch])
        for _ in range(STEPS):
            time.sleep(slow)
            x = torch.from_numpy(rng.standard_normal((8, 4)).astype(np.float32))
            yield x, x @ target

    def evaluate() -> dict[str, float]:
        x = torch.linspace(-1, 1, 80).view(20, 4)
        return {"dev_loss": F.mse_loss(model(x)[:, 0], x @ target).item()}

    def loss(x, y):
        return F.mse_loss(model(x)[:, 0], y)

    return Job("toy", model, loss, batches, STEPS, evaluate, "dev_loss", inputs)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def weights(one: Job) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in one.model.parameters()]


def test_it_learns_and_leaves_no_state_behind(tmp_path):
    one = job()
    history = fit(one, options(epochs=20), 0, tmp_path / "toy")
    assert history[-1]["dev_loss"] < 0.2 * history[0]["dev_loss"]
    assert not (tmp_path / "toy/resume.pt").exists()
    curve = (tmp_path / "live/toy/plots/metrics/dev_loss.tsv").read_text().splitlines()
    assert curve[0] == "step\tdev_loss" and len(curve) == 21


class Stop(Exception):
    """Stands for whatever ends a process between two epochs."""


@pytest.mark.parametrize("after", [1, 3, 5])
def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path, after):
    whole, part, again = job(), job(), job()
    expected = fit(whole, options(), 0, tmp_path / "whole")
    seen = []

    def stop() -> list[str]:  # samples come before the state is saved: the epoch in which this raises is lost
        seen.append(1)
        if len(seen) > after:
            raise Stop
        return []

    part.samples = stop
    if after < 5:
        with pytest.raises(Stop):
            fit(part, options(), 0, tmp_path / "part")
    else:
        part.samples = None
        evaluate = part.evaluate
        fit(part, options(), 0, tmp_path / "part")
        assert evaluate() == {"dev_loss": min(scores["dev_loss"] for scores in expected)}
    found = fit(again, options(), 0, tmp_path / "part")
    assert found == expected
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(again), strict=True))


SCRIPT = """
import sys; sys.path.insert(0, {tests!r}); sys.path.insert(0, {root!r})
from pathlib import Path
import captioning, torch
from test_training import fit, job, options
one = job(slow={slow})
fit(one, options(), 0, Path("toy"))
torch.save(one.model.state_dict(), "weights.pt")
"""


def test_kill_9_at_any_moment(tmp_path):
    def run(folder: str, slow: float) -> subprocess.Popen:
        (tmp_path / folder).mkdir(exist_ok=True)
        script = SCRIPT.format(tests=str(ROOT / "tests"), root=str(ROOT), slow=slow)
        return subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path / folder, stdout=subprocess.DEVNULL)

    assert run("whole", 0).wait() == 0
    victim = run("killed", 0.1)
    state = tmp_path / "killed/toy/resume.pt"
    deadline = time.monotonic() + 120
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.8)  # somewhere within a later epoch
    os.kill(victim.pid, signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL and state.exists()
    assert run("killed", 0).wait() == 0
    whole, killed = (torch.load(tmp_path / name / "weights.pt", weights_only=True) for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


@pytest.mark.parametrize("change", [{"inputs": "other"}, {"options": options(lr=0.01)}, {"seed": 1}])
def test_a_state_of_other_data_settings_or_seed_is_not_resumed(tmp_path, change, capsys):
    part = job()
    part.samples = lambda: (_ for _ in ()).throw(Stop) if (tmp_path / "toy/resume.pt").exists() else []
    with pytest.raises(Stop):
        fit(part, options(), 0, tmp_path / "toy")
    fresh = job(inputs=change.get("inputs", "data"))
    fit(fresh, change.get("options", options()), change.get("seed", 0), tmp_path / "toy")
    assert "belongs to other settings or data" in capsys.readouterr().out


def test_a_damaged_state_is_started_over(tmp_path, capsys):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/resume.pt").write_bytes(b"half a file")
    fit(job(), options(epochs=1), 0, tmp_path / "toy")
    assert "cannot be read" in capsys.readouterr().out


def test_nan_is_an_error_that_names_the_step(tmp_path):
    one = job()
    loss, steps = one.loss, []

    def broken(x, y):
        steps.append(1)
        return loss(x, y) * (float("nan") if len(steps) == STEPS + 3 else 1.0)

    one.loss = broken
    with pytest.raises(UserError, match=r"toy: epoch 2, step 3 of 6: loss nan.*lower toy\.lr"):
        fit(one, options(), 0, tmp_path / "toy")


def test_early_stopping_keeps_the_best_epoch(tmp_path):
    one = job()
    scores = iter([3.0, 1.0, 2.0, 2.5, 0.5])
    seen = []

    def evaluate():
        seen.append(weights(one))
        return {"dev_loss": next(scores)}

    one.evaluate = evaluate
    history = fit(one, options(patience=2), 0, tmp_path / "toy")
    assert [epoch["dev_loss"] for epoch in history] == [3.0, 1.0, 2.0, 2.5]
    assert all(torch.equal(a, b) for a, b in zip(weights(one), seen[1], strict=True))


def test_frozen_weights_stay_and_are_not_in_the_state(tmp_path):
    one = job()
    one.model[0].requires_grad_(False)
    frozen = one.model[0].weight.clone()
    one.samples = lambda: (_ for _ in ()).throw(Stop) if (tmp_path / "toy/resume.pt").exists() else []
    with pytest.raises(Stop):
        fit(one, options(), 0, tmp_path / "toy")
    state = torch.load(tmp_path / "toy/resume.pt", weights_only=True)
    assert set(state["weights"]) == {"3.weight", "3.bias"}
    assert torch.equal(one.model[0].weight, frozen)


def test_the_rate_rises_then_falls():
    rates = [learning_rate(step, 100, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == 1.0
    assert rates.index(max(rates)) in (9, 10) and rates[-1] < 0.001
    assert all(a >= b for a, b in pairwise(rates[10:]))


def test_zero_epochs_change_nothing(tmp_path):
    one = job()
    before = weights(one)
    assert fit(one, options(epochs=0), 0, tmp_path / "toy") == []
    assert all(torch.equal(a, b) for a, b in zip(before, weights(one), strict=True))


def test_a_second_run_waits_for_the_first(tmp_path, capfd):
    (tmp_path / "both").mkdir()
    script = SCRIPT.format(tests=str(ROOT / "tests"), root=str(ROOT), slow=0.05)
    runs = [subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path / "both") for _ in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    printed = capfd.readouterr().out
    assert printed.count("waiting: process") == 1
    assert any(f"process {run.pid} is writing toy" in printed for run in runs)
