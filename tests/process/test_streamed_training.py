"""Training on a split that is read from disk window by window, killed within windows: the weights of an
undisturbed run, and no epoch is trained twice."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
from forked import start
from safetensors.torch import load_file
from small_decoders import SIZE, options, train

from captioning.core.paths import checkpoint
from captioning.training import decoder as decoders
from captioning.training import streams

IMAGE = 2 * SIZE  # bytes of features


class Windows(streams.StreamedBatches):
    """Windows of 8 images in blocks of 2; kills its process when a batch of training is taken."""

    def __init__(self, *arguments, kill_at: int) -> None:
        super().__init__(*arguments, few_sizes=False, window=8 * IMAGE, block=2 * IMAGE)
        self.left = kill_at
        assert len(list(self._plan(0, 1))) == self.count // 8, "an epoch of train has three windows"

    def take(self, index, buckets=None):
        if len(index) == 1 and self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= len(index) == 1
        return super().take(index, buckets)


def run(kind: str, kill_at: int) -> None:
    streams.IN_MEMORY, streams.CHUNK = 0, 8
    decoders.StreamedBatches = partial(Windows, kill_at=kill_at)
    critic = {"epochs": 1, "batch_size": 1, "lr": 0.003, "samples": 2}
    train(kind, Path.cwd(), options(epochs=2, batch_size=1, self_critical=critic))


@pytest.mark.parametrize("kind", ["lstm", "clipcap"])
def test_killed_in_any_window_it_goes_on_to_the_same_weights(kind, tmp_path):
    """Of 24 batches an epoch: in the first window, in the second epoch, and between two windows of the
    self-critical phase."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    whole.mkdir()
    undisturbed = start(whole, run, kind, -1)
    for kill_at in (2, 24 + 5, 24 + 8):
        victim = start(killed, run, kind, kill_at, out=tmp_path / "printed.txt")
        victim.join(300)
        assert victim.exitcode == -signal.SIGKILL
    last = start(killed, run, kind, -1, out=tmp_path / "printed.txt")
    last.join(300)
    undisturbed.join(300)
    assert last.exitcode == undisturbed.exitcode == 0
    printed = (tmp_path / "printed.txt").read_text()
    assert [printed.count(f"epoch {one}  ") for one in ("1/2", "2/2", "1/1")] == [1, 1, 1]
    one, two = (load_file(folder / checkpoint(kind) / "model.safetensors") for folder in (whole, killed))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    for folder in (whole, killed):
        assert not [*folder.glob(".work/tmp/*"), *folder.glob(".work/states/*")]
