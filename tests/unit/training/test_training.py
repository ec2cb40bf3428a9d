"""The training loop: NaN is named, early stopping keeps the best epoch, and the average of the weights is
judged."""

import dataclasses
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from small_job import STEPS, job, options, states, two_phases, weights

from captioning.core.errors import UserError
from captioning.training.loop import fit, fit_in_phases, learning_rate


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_it_learns_and_leaves_no_state_behind(tmp_path):
    one = job()
    history = fit(one, options(epochs=20), 0)
    assert history[-1]["dev_loss"] < 0.2 * history[0]["dev_loss"]
    assert states() == []
    curve = (tmp_path / "live/toy/plots/metrics/dev_loss.tsv").read_text().splitlines()
    assert curve[0] == "step\tdev_loss"
    assert [line.split("\t")[0] for line in curve[1:]] == [str(epoch) for epoch in range(1, 21)]


def test_nan_is_an_error_that_names_the_step(tmp_path):
    one = job()
    loss, steps = one.loss, []

    def broken(x, y):
        steps.append(1)
        return loss(x, y) * (float("nan") if len(steps) == STEPS + 3 else 1.0)

    one.loss = broken
    with pytest.raises(UserError, match=r"toy: epoch 2, step 3 of 6: loss nan.*lower toy\.lr"):
        fit(one, options(), 0)


def test_the_remedy_of_a_second_phase_names_settings_that_exist():
    phases = two_phases()
    phases[1][0].loss = lambda x, y: phases[0][0].model(x).sum() * float("nan")
    remedy = r"lower toy\.second\.lr, raise toy\.warmup or set toy\.precision to fp32"
    with pytest.raises(UserError, match=rf"toy\.second: epoch 1, step 1 of 6: .*{remedy}"):
        fit_in_phases(phases, 0)


@pytest.mark.parametrize("when", [0, 2])
def test_a_dev_score_that_is_no_number_is_an_error(tmp_path, when):
    scores = iter([1.0] * when + [float("nan")] * 5)
    one = dataclasses.replace(job(), evaluate=lambda: {"dev_loss": next(scores)})
    with pytest.raises(UserError, match=rf"toy: dev_loss is nan after epoch {when + 1}; lower toy.lr"):
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


def test_a_phase_that_only_harms_is_undone(tmp_path, capsys):
    phases = two_phases()
    phases[1][0].loss = lambda x, y: -F.l1_loss(phases[0][0].model(x)[:, 0], y)
    _, kept = fit_in_phases(phases, 0)
    alone = job()
    history = fit(alone, options(), 0)
    assert all(torch.equal(a, b) for a, b in zip(weights(phases[0][0]), weights(alone), strict=True))
    assert kept["dev_loss"] == pytest.approx(min(epoch["dev_loss"] for epoch in history))
    assert "toy.second: kept the starting weights" in capsys.readouterr().out


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
