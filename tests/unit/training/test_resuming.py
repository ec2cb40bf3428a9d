"""Training goes on after it was stopped, to the same result; damaged states are not used."""

import os
from pathlib import Path

import pytest
import torch
from small_job import Stop, count_batches, job, options, states, two_phases, weights

from captioning.training.loop import _Average, fit, fit_in_phases
from captioning.training.states import LEFT, Best, State, forget_old_states


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


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
    steps = [int(line.split("\t")[0]) for line in curve[1:]]
    assert steps == [*range(1, 10)], "the curves of both phases are one"


def test_other_settings_of_the_second_phase_keep_the_first(tmp_path):
    part, again = two_phases(), two_phases()
    part[1][0].samples = lambda: (_ for _ in ()).throw(Stop)
    with pytest.raises(Stop):
        fit_in_phases(part, 0)
    again[1] = (again[1][0], options(epochs=4, lr=0.02))
    trained = count_batches(again)
    fit_in_phases(again, 0)
    assert trained == [0, 4]


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


def test_a_state_that_another_run_removes_meanwhile_is_no_error(tmp_path):
    """A link to nothing stands for it: it is listed, and then not found."""
    for number in range(LEFT + 2):
        folder = tmp_path / f"toy-{number}"
        folder.mkdir()
        os.utime(folder, (number, number))
    (tmp_path / "removed").symlink_to("nowhere")
    forget_old_states(tmp_path / "toy-0")
    left = {path.name for path in tmp_path.glob("toy-*")}
    assert left == {"toy-0", *(f"toy-{2 + number}" for number in range(LEFT))}


def test_weights_that_are_the_best_so_far_are_written_once(tmp_path):
    """A state of GPT-2 is a quarter smaller, and so written sooner."""
    model, path = torch.nn.Linear(200, 200), tmp_path / "resume.pt"
    optimizer, sizes = torch.optim.SGD(model.parameters()), []
    for epochs in (1, 2):
        average, state = _Average(model, 0.0), State(path, "inputs")
        best = Best.of(model, epochs, {"dev_loss": 1.0})
        state.save(model, optimizer, average, 2, best, [])
        sizes.append(path.stat().st_size)
        first, loaded, _ = state.load(model, optimizer, average)
        assert first == 2 and loaded.epochs == epochs and torch.equal(loaded.weights["weight"], model.weight)
    assert sizes[0] - sizes[1] > 0.95 * 200 * 200 * 4
