"""The training state after an epoch. It stays in the working folder until the stage is finished."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from captioning.core.errors import in_a_line
from captioning.core.files import atomic_write, only_writer

LEFT = 4  # states of killed runs to keep; each holds the weights four times


@dataclass
class Best:
    """The weights that score best on dev so far.

    Attributes:
        epochs: the number of epochs they were trained for; 0: the starting weights.
        scores: on dev.
        weights: the part of the state dict that training changes.
    """

    epochs: int
    scores: dict[str, float]
    weights: dict[str, Tensor]

    @classmethod
    def of(cls, model: nn.Module, epochs: int, scores: dict[str, float]) -> Best:
        return cls(epochs, scores, {name: tensor.clone() for name, tensor in trained_state(model).items()})


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Returns the part of the state dict that training changes: trained parameters and all buffers."""
    frozen = {
        name
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if not parameter.requires_grad
    }
    return {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}


def forget_old_states(own: Path) -> None:
    """Removes old states of other runs. Keeps `own`, the newest others, and states in use."""
    others = [folder for folder in own.parent.glob("*") if folder.name != own.name]
    for folder in sorted(others, key=_changed, reverse=True)[LEFT:]:
        with only_writer(folder, wait=False) as unused:
            if unused:
                shutil.rmtree(folder, ignore_errors=True)


def _changed(folder: Path) -> float:
    """When a state was last written; 0 if its run, which trains beside this one, has just removed it."""
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


class State:
    """The state after an epoch on disk. It is bound to one set of inputs and settings."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path, self.fingerprint = path, fingerprint

    def load(self, model: nn.Module, optimizer, average) -> tuple[int, Best | None, list]:
        """Returns (first epoch to run, best so far, history) from the last run, or those of a new start.

        A damaged, incomplete or different state means a new start; nothing is changed then.
        """
        nothing = 0, None, []
        try:
            with zipfile.ZipFile(self.path) as archive:
                if damaged := archive.testzip():  # torch does not verify the checksums
                    raise ValueError(f"{damaged} is damaged")
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            if state["fingerprint"] != self.fingerprint:
                print(f"{self.path} belongs to other settings or data: training starts from the beginning")
                return nothing
            epochs, best = int(state["epochs"]), Best(**state["best"])
            history = [dict(scores) for scores in state["history"]]
            means, shapes = state["average"]["means"], _shapes(trained_state(model))
            same = _shapes(state["weights"]) == _shapes(best.weights) == shapes
            if not same or [mean.shape for mean in means] != [mean.shape for mean in average.means]:
                raise ValueError("it is of another network")
            optimizer.load_state_dict(state["optimizer"])
            average.load(state["average"])
        except FileNotFoundError:
            return nothing
        except Exception as error:
            print(f"{self.path} cannot be read ({in_a_line(error)}): training starts from the beginning")
            return nothing
        model.load_state_dict(state["weights"], strict=False)
        print(f"resumed from {self.path} after epoch {epochs}")
        return epochs, best, history

    def save(self, model: nn.Module, optimizer, average, epochs: int, best: Best, history: list) -> None:
        """Writes the state after `epochs` epochs, in place of the last one."""
        weights = trained_state(model)
        if best.epochs == epochs and not average.means:  # torch then writes the best weights only once
            best = Best(epochs, best.scores, weights)
        state = {
            "fingerprint": self.fingerprint,
            "weights": weights,
            "optimizer": optimizer.state_dict(),
            "average": average.state(),
            "epochs": epochs,
            "best": vars(best),
            "history": history,
        }
        with atomic_write(self.path, "wb") as file:
            torch.save(state, file)


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in weights.items()}
