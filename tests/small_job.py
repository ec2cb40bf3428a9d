"""A regression that trains in milliseconds, and what a run of it leaves behind."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from captioning.core.settings import TrainingSettings
from captioning.training.loop import Job

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


def two_phases(slow: float = 0.0, ema: float = 0.0) -> list:
    """Trains the same network with two losses, one after the other."""
    first = job(slow=slow)
    first.ema = ema
    second = dataclasses.replace(
        first, name="toy.second", loss=lambda x, y: F.l1_loss(first.model(x)[:, 0], y), inputs="second",
        curve="absolute", keep_start=True,
    )  # fmt: skip
    return [(first, options()), (second, options(epochs=4, lr=0.01))]


class Stop(Exception):
    """The exception that stands for anything that ends a process between two epochs."""


def states(folder: Path = Path()) -> list[str]:
    """The training states in a working folder."""
    return sorted(path.name for path in folder.glob(".work/states/*/*"))


def weights(one: Job) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in one.model.parameters()]


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
