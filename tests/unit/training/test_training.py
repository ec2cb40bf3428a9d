"""The training loop: a kill costs one epoch and changes no result, NaN is named, early stopping keeps the
best epoch."""

import dataclasses
import os
import signal
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from forked import start
from torch import nn

from captioning.core.errors import UserError
from captioning.core.files import only_writer
from captioning.core.settings import TrainingSettings
from captioning.training.loop import Job, fit, fit_in_phases, learning_rate
from captioning.training.states import LEFT

STEPS = 6


def options(**changes) -> TrainingSettings:
    values = {
        "epochs": 5, "batch_size": 8, "lr": 0.05, "weight_decay": 0.1, "warmup": 0.2, "clip_norm": 1.0,
        "patience": 10, "precision": "fp32",
    }  # fmt: skip
    return TrainingSettings(**values | changes)


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


def states(folder: Path = Path()) -> list[str]:
    """The training states in a working folder."""
    return sorted(path.name for path in folder.glob(".work/states/*/*"))


def weights(one: Job) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in one.model.parameters()]


def test_it_learns_and_leaves_no_state_behind(tmp_path):
    one = job()
    history = fit(one, options(epochs=20), 0)
    assert history[-1]["dev_loss"] < 0.2 * history[0]["dev_loss"]
    assert states() == []
    curve = (tmp_path / "live/toy/plots/metrics/dev_loss.tsv").read_text().splitlines()
    assert curve[0] == "step\tdev_loss" and len(curve) == 21


class Stop(Exception):
    """The exception that stands for anything that ends a process between two epochs."""


@pytest.mark.parametrize("after", [1, 3, 5])
def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path, after):
    whole, part, again = job(), job(), job()
    expected = fit(whole, options(), 0)
    seen = []

    # Samples come before the state is saved, so the epoch in which this raises is lost.
    def stop() -> list[str]:
        seen.append(1)
        if len(seen) > after:
            raise Stop
        return []

    part.samples = stop
    if after < 5:
        with pytest.raises(Stop):
            fit(part, options(), 0)
    else:
        part.samples = None
        evaluate = part.evaluate
        fit(part, options(), 0)
        assert evaluate() == {"dev_loss": min(scores["dev_loss"] for scores in expected)}
    found = fit(again, options(), 0)
    assert found == expected
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(again), strict=True))


def run(slow: float) -> None:
    one = job(slow=slow)
    fit(one, options(), 0)
    torch.save(one.model.state_dict(), "weights.pt")


def test_kill_9_at_any_moment(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    whole.mkdir()
    victim, undisturbed = start(killed, run, 0.1), start(whole, run, 0.0)
    deadline = time.monotonic() + 120
    while not states(killed) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.8)  # within a later epoch
    victim.kill()
    victim.join()
    assert victim.exitcode == -signal.SIGKILL and states(killed) == ["resume.pt"]
    again = start(killed, run, 0.0)
    again.join()
    undisturbed.join()
    assert again.exitcode == undisturbed.exitcode == 0
    weights = [torch.load(folder / "weights.pt", weights_only=True) for folder in (whole, killed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("change", [{"inputs": "other"}, {"options": options(lr=0.01)}, {"seed": 1}])
def test_a_state_of_other_data_settings_or_seed_is_not_resumed(tmp_path, change, capsys):
    part = job()
    part.samples = lambda: (_ for _ in ()).throw(Stop) if states() else []
    with pytest.raises(Stop):
        fit(part, options(), 0)
    fresh = job(inputs=change.get("inputs", "data"))
    trained = count_batches([(fresh, None)])
    fit(fresh, change.get("options", options()), change.get("seed", 0))
    assert trained == [5] and "resumed" not in capsys.readouterr().out
    back = job()
    assert len(fit(back, options(), 0)) == 5 and states() == []
    assert "after epoch 1" in capsys.readouterr().out, "the state of the first settings was kept"


def test_a_state_of_other_first_weights_is_not_resumed(capsys):
    part, other = job(), job()
    part.samples = lambda: (_ for _ in ()).throw(Stop) if states() else []
    with pytest.raises(Stop):
        fit(part, options(), 0)
    with torch.no_grad():
        other.model[0].weight[0, 0] += 1
    fit(other, options(), 0)
    assert "resumed" not in capsys.readouterr().out


def test_a_kill_while_the_result_is_written_trains_nothing_again():
    def killed(history):
        raise Stop

    with pytest.raises(Stop):
        fit(job(), options(), 0, killed)
    again, written = job(), []
    trained = count_batches([(again, None)])
    fit(again, options(), 0, written.extend)
    assert trained == [0] and len(written) == 5 and states() == []


def half(path: Path) -> None:
    path.write_bytes(b"half a file")


def flipped(path: Path) -> None:
    """Flips one bit of a weight. Torch reads such a file without an error."""
    content = bytearray(path.read_bytes())
    weight = torch.load(path, weights_only=True)["weights"]["3.weight"].numpy().tobytes()
    content[content.index(weight)] ^= 1
    path.write_bytes(content)


def without(field: str):
    def change(path: Path) -> None:
        state = torch.load(path, weights_only=True)
        del state[field]
        torch.save(state, path)

    return change


def of_another_network(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    state["weights"]["0.weight"] = torch.zeros(7, 4)
    torch.save(state, path)


FIELDS = ("fingerprint", "weights", "optimizer", "average", "epochs", "best", "history")


@pytest.mark.parametrize("damage", [half, flipped, of_another_network, *map(without, FIELDS)])
def test_a_damaged_state_is_started_over(tmp_path, capsys, damage):
    whole = job()
    fit(whole, options(), 0)
    part = job()
    part.samples = lambda: (_ for _ in ()).throw(Stop) if states() else []
    with pytest.raises(Stop):
        fit(part, options(), 0)
    [state] = tmp_path.glob(".work/states/*/resume.pt")
    damage(state)
    again = job()
    fit(again, options(), 0)
    assert "cannot be read" in capsys.readouterr().out
    assert all(torch.equal(a, b) for a, b in zip(weights(again), weights(whole), strict=True))


def hold(folder: Path) -> None:
    with only_writer(folder):
        print("held", flush=True)
        time.sleep(60)


def test_few_states_of_runs_that_were_left_are_kept(tmp_path):
    for seed in range(LEFT + 4):
        one = job(seed)
        begun = one.batches
        one.batches = lambda epoch, begun=begun: begun(epoch) if epoch == 0 else (_ for _ in ()).throw(Stop)
        with pytest.raises(Stop):
            fit(one, options(), 0)
        if seed == 0:
            [oldest] = (tmp_path / ".work/states").iterdir()
            os.utime(oldest, (0, 0))
            busy, held = start(tmp_path, hold, oldest, out=tmp_path / "held.txt"), tmp_path / "held.txt"
            while busy.is_alive() and not (held.exists() and held.read_text()):
                time.sleep(0.01)
            assert busy.is_alive()
    busy.kill()
    busy.join()
    found = list((tmp_path / ".work/states").iterdir())
    assert len(found) == LEFT + 2 and oldest in found  # its own state, the left ones, and the one in use
    fit(job(99), options(), 0)
    assert len(list((tmp_path / ".work/states").iterdir())) == LEFT and not oldest.exists()


def test_nan_is_an_error_that_names_the_step(tmp_path):
    one = job()
    loss, steps = one.loss, []

    def broken(x, y):
        steps.append(1)
        return loss(x, y) * (float("nan") if len(steps) == STEPS + 3 else 1.0)

    one.loss = broken
    with pytest.raises(UserError, match=r"toy: epoch 2, step 3 of 6: loss nan.*lower toy\.lr"):
        fit(one, options(), 0)


@pytest.mark.parametrize("when", [0, 2])
def test_a_dev_score_that_is_no_number_is_an_error(tmp_path, when):
    scores = iter([1.0] * when + [float("nan")] * 5)
    one = dataclasses.replace(job(), evaluate=lambda: {"dev_loss": next(scores)})
    with pytest.raises(UserError, match=rf"toy: dev_loss of dev is nan after epoch {when + 1}; lower toy.lr"):
        fit(one, options(), 0)


def test_early_stopping_keeps_the_best_epoch(tmp_path):
    one = job()
    scores = iter([3.0, 1.0, 2.0, 2.5, 0.5])
    seen = []

    def evaluate():
        seen.append(weights(one))
        return {"dev_loss": next(scores)}

    one.evaluate = evaluate
    history = fit(one, options(patience=2), 0)
    assert [epoch["dev_loss"] for epoch in history] == [3.0, 1.0, 2.0, 2.5]
    assert all(torch.equal(a, b) for a, b in zip(weights(one), seen[1], strict=True))


# ---- average of the weights


def test_the_average_is_judged_and_kept(tmp_path):
    """Compares with the formula: steps 1, 2, ... move the average by 0.9, 9/11, ... of the way, later by 1 -
    decay."""
    one, seen = job(), []
    one.ema, evaluate, loss = 0.5, one.evaluate, one.loss

    def watched(x, y):
        seen.append(weights(one))
        return loss(x, y)

    def judged():
        trained.append(weights(one))
        return evaluate()

    trained: list[list[torch.Tensor]] = []
    one.loss, one.evaluate = watched, judged
    fit(one, options(epochs=1), 0)
    plain = job()
    fit(plain, options(epochs=1), 0)
    expected, states = seen[0], [*seen[1:], weights(plain)]  # the final value of each step
    for step, after in enumerate(states, 1):
        share = 1 - min(0.5, step / (step + 9))
        expected = [mean + share * (weight - mean) for mean, weight in zip(expected, after, strict=True)]
    for mean, judged_with, kept in zip(expected, trained[0], weights(one), strict=True):
        torch.testing.assert_close(judged_with, mean)
        assert torch.equal(judged_with, kept)


# ---- phases


def two_phases(slow: float = 0.0, ema: float = 0.0) -> list:
    """Trains the same network with two losses, one after the other."""
    first = job(slow=slow)
    first.ema = ema
    second = dataclasses.replace(
        first, name="toy.second", loss=lambda x, y: F.l1_loss(first.model(x)[:, 0], y), inputs="second",
        curve="absolute", keep_start=True,
    )  # fmt: skip
    return [(first, options()), (second, options(epochs=4, lr=0.01))]


@pytest.mark.parametrize("after", [1, 4, 5, 6, 8])
@pytest.mark.parametrize("ema", [0.0, 0.8])
def test_phases_that_are_stopped_go_on_to_the_same_weights(tmp_path, after, ema, capsys):
    whole = two_phases(ema=ema)
    expected, kept = fit_in_phases(whole, 0)
    assert [*expected[0]] == ["train_loss", "dev_loss"] and [*expected[5]] == ["absolute", "dev_loss"]
    assert (
        kept["dev_loss"] == whole[0][0].evaluate()["dev_loss"] == min(epoch["dev_loss"] for epoch in expected)
    )
    seen, part, again = [], two_phases(ema=ema), two_phases(ema=ema)

    def stop() -> list[str]:
        seen.append(1)
        if len(seen) > after:
            raise Stop
        return []

    for one, _ in part:
        one.samples = stop
    with pytest.raises(Stop):
        fit_in_phases(part, 0)
    trained = count_batches(again)
    found = fit_in_phases(again, 0)
    assert found == (expected, kept)
    assert trained == [max(5 - after, 0), min(9 - after, 4)], "an epoch was lost, or trained again"
    assert all(torch.equal(a, b) for a, b in zip(weights(whole[0][0]), weights(again[0][0]), strict=True))
    assert states() == []
    curve = (tmp_path / "live/toy/plots/metrics/dev_loss.tsv").read_text().splitlines()
    assert len(curve) == 10, "the curves of both phases are one"


def count_batches(phases: list) -> list[int]:
    counts = [0] * len(phases)

    def counted(which: int, batches):
        def epoch(number: int):
            counts[which] += 1
            return batches(number)

        return epoch

    for which, (one, _) in enumerate(phases):
        one.batches = counted(which, one.batches)
    return counts


def test_other_settings_of_the_second_phase_keep_the_first(tmp_path):
    part, again = two_phases(), two_phases()
    part[1][0].samples = lambda: (_ for _ in ()).throw(Stop)
    with pytest.raises(Stop):
        fit_in_phases(part, 0)
    again[1] = (again[1][0], options(epochs=4, lr=0.02))
    trained = count_batches(again)
    fit_in_phases(again, 0)
    assert trained == [0, 4]


def test_a_phase_that_only_harms_is_undone(tmp_path, capsys):
    phases = two_phases()
    phases[1][0].loss = lambda x, y: -F.l1_loss(phases[0][0].model(x)[:, 0], y)
    _, kept = fit_in_phases(phases, 0)
    alone = job()
    history = fit(alone, options(), 0)
    assert all(torch.equal(a, b) for a, b in zip(weights(phases[0][0]), weights(alone), strict=True))
    assert kept["dev_loss"] == pytest.approx(min(epoch["dev_loss"] for epoch in history))
    assert "toy.second: kept what it began with" in capsys.readouterr().out


def test_frozen_weights_stay_and_are_not_in_the_state(tmp_path):
    one = job()
    one.model[0].requires_grad_(False)
    frozen = one.model[0].weight.clone()
    one.samples = lambda: (_ for _ in ()).throw(Stop) if states() else []
    with pytest.raises(Stop):
        fit(one, options(), 0)
    [path] = tmp_path.glob(".work/states/*/resume.pt")
    state = torch.load(path, weights_only=True)
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
    assert fit(one, options(epochs=0), 0) == []
    assert all(torch.equal(a, b) for a, b in zip(before, weights(one), strict=True))


def run_second() -> None:
    while not any(lock.read_text() for lock in Path(".work/locks").glob("toy-*")):
        time.sleep(0.01)
    run(0.05)


def test_a_second_run_waits_for_the_first(tmp_path):
    folder, printed = tmp_path / "both", tmp_path / "second.txt"
    folder.mkdir()
    first, second = start(folder, run, 0.05), start(folder, run_second, out=printed)
    first.join()
    second.join()
    assert first.exitcode == second.exitcode == 0
    assert printed.read_text().count("waiting: process") == 1
    assert f"process {first.pid} is writing live/toy" in printed.read_text()
