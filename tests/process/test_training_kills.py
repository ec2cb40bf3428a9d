"""Training is killed, or started twice: a kill costs one epoch and changes no result; one run writes."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch
from forked import start
from safetensors.torch import load_file
from small_decoders import options as decoder_options
from small_decoders import train
from small_job import Stop, job, options, states

from captioning.core.files import only_writer
from captioning.core.paths import checkpoint
from captioning.training.loop import fit
from captioning.training.states import LEFT


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(slow: float) -> None:
    one = job(slow=slow)
    fit(one, options(), 0)
    torch.save(one.model.state_dict(), "weights.pt")


def test_kill_9_at_any_moment(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    whole.mkdir()
    victim, undisturbed = start(killed, run, 0.2), start(whole, run, 0.0)
    deadline = time.monotonic() + 120
    while not states(killed) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)  # within the second epoch of five, which last 1.2 s
    victim.kill()
    victim.join()
    assert victim.exitcode == -signal.SIGKILL and states(killed) == ["resume.pt"]
    again = start(killed, run, 0.0)
    again.join()
    undisturbed.join()
    assert again.exitcode == undisturbed.exitcode == 0
    weights = [torch.load(folder / "weights.pt", weights_only=True) for folder in (whole, killed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


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


def run_decoder() -> None:
    train("lstm", Path.cwd(), decoder_options(ema=0.5))


def test_kill_9_in_either_phase(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    whole.mkdir()
    undisturbed = start(whole, run_decoder)
    for name in ("resume.pt", "resume_2.pt"):
        printed = tmp_path / f"{name}.txt"
        victim = start(killed, run_decoder, out=printed)
        deadline = time.monotonic() + 300
        while not (state := [*killed.glob(f".work/states/*/{name}")]) and time.monotonic() < deadline:
            time.sleep(0.001)
        victim.kill()
        victim.join()
        assert victim.exitcode == -signal.SIGKILL and state
    assert "epoch 1/4" not in printed.read_text(), "an epoch was trained again"
    last = start(killed, run_decoder, out=tmp_path / "last.txt")
    last.join()
    undisturbed.join()
    assert last.exitcode == undisturbed.exitcode == 0
    printed = (tmp_path / "last.txt").read_text()
    assert printed.count("resumed from") == 2
    assert "/4  train_loss" not in printed, "cross-entropy was trained again"
    weights = [load_file(folder / checkpoint("lstm") / "model.safetensors") for folder in (whole, killed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
