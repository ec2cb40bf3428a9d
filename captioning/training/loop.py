"""One training loop for every network of the pipeline.

It has AdamW with warm-up and cosine decay, gradient clipping, mixed precision, early stopping on a dev score,
an average of the weights, live curves and sample captions. After a kill, training resumes from a state on
disk. On a CPU the resumed run reaches exactly the weights of an uninterrupted run; a GPU may add numbers in
another order.

Several processes can train together (`captioning.training.distributed`). Only the first one evaluates and
writes. All get its scores, so all agree which epoch is best and when to stop.
"""

from __future__ import annotations

import hashlib
import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from captioning.core.code import describe as describe_code
from captioning.core.device import autocast, describe, pick_device, pick_dtype
from captioning.core.errors import UserError
from captioning.core.files import fingerprint, only_writer
from captioning.core.paths import live as live_of
from captioning.core.progress import rounded, track
from captioning.core.settings import TrainingSettings
from captioning.core.work import work_folder
from captioning.training import distributed
from captioning.training.distributed import on_first
from captioning.training.states import Best, State, forget_old_states
from captioning.training.step import recorded_step, set_rate, training_step

if TYPE_CHECKING:
    from dvclive import Live

CHECK_EVERY = 20  # steps between two checks of the loss; each check makes a GPU wait


@dataclass
class Job:
    """What `fit` trains and how it is evaluated.

    Attributes:
        name: the name of the group of settings, for error messages: STAGE, or STAGE.GROUP for a later phase.
        model: the network. Weights that require gradients are trained; the best ones on dev are kept.
        loss: batch -> mean loss, a scalar that requires gradients; called in training mode. With several
            processes, this process's part of it (`distributed.part`).
        prepare: batch -> the batch that `loss` takes, made by the network before each step, without
            gradients. None: the same batch.
        batches: epoch number -> the batches of that epoch, which depend only on the number and the seed; with
            several processes, this process's share of each (`distributed.share`).
        steps: batches in an epoch.
        evaluate: () -> scores on dev; called in eval mode without gradients.
        monitor: the score that selects the best epoch; `higher_is_better` is its direction.
        inputs: fingerprint of everything else that affects the result; a state with other inputs is not
            resumed.
        samples: () -> lines to print after an epoch, such as captions of a few dev images.
        groups: parameter groups with a `scale` of the learning rate each; by default one group of scale 1.
        curve: the name of the mean loss among the scores.
        ema: decay per step of an exponential moving average of the trained weights. The average is evaluated
            and kept instead of the weights. 0: no average.
        keep_start: restore the starting weights if no epoch beats them on dev.
        recordable: `loss` runs the same operations for equal batch shapes and never makes the host wait, so a
            GPU can record and replay steps. With several processes, only the weights are cast once a step.
    """

    name: str
    model: nn.Module
    loss: Callable[..., Tensor]
    batches: Callable[[int], Iterable]
    steps: int
    evaluate: Callable[[], dict[str, float]]
    monitor: str
    inputs: str
    higher_is_better: bool = False
    samples: Callable[[], list[str]] | None = None
    groups: list[dict] | None = None
    prepare: Callable[..., tuple] | None = None
    curve: str = "train_loss"
    ema: float = 0.0
    keep_start: bool = False
    recordable: bool = False

    def prefers(self, scores: dict[str, float], others: dict[str, float]) -> bool:
        """Whether these scores on dev are better than the others."""
        one, other = scores[self.monitor], others[self.monitor]
        return one > other if self.higher_is_better else one < other


def fit(
    job: Job,
    options: TrainingSettings,
    seed: int,
    write: Callable[[list[dict[str, float]]], None] = lambda history: None,
) -> list[dict[str, float]]:
    """Trains `job.model` in place and restores the best epoch's weights. Returns the scores of each epoch.

    Live curves go to `live/NAME`. The working folder keeps the state after each epoch until `write`, called
    with the scores, has written the result. The state is bound to the first weights, the code, `job.inputs`,
    the settings and the seed. Raises `UserError`, which names the step, if a loss or gradient is not finite.
    """
    return fit_in_phases([(job, options)], seed, lambda history, _: write(history))[0]


def fit_in_phases(
    phases: list[tuple[Job, TrainingSettings]],
    seed: int,
    write: Callable[[list[dict[str, float]], dict[str, float] | None], None] = lambda history, kept: None,
) -> tuple[list[dict[str, float]], dict[str, float] | None]:
    """Runs several jobs in turn, like `fit`; each starts from the weights that the previous job kept.

    The first job names the curves. The state of a finished phase is kept until the last phase ends, so a
    killed run repeats none of them. Returns, and passes to `write`, the scores of all epochs and those of the
    kept weights (None if there was no epoch).
    """
    distributed.share_start(phases[0][0].model)
    distributed.share_batch_norm(phases[0][0].model)
    history, kept, bound_to = [], None, _beginning(phases[0][0])
    live_folder, folder, live = live_of(phases[0][0].name), None, None
    with ExitStack() as stack:
        if first := distributed.rank() == 0:
            from dvclive import Live  # takes seconds, which a stage of 0 epochs does not need

            stack.enter_context(only_writer(live_folder))
            live = Live(str(live_folder), dvcyaml=None, save_dvc_exp=False, report=None, monitor_system=False)
            stack.enter_context(live)
        for number, (job, options) in enumerate(phases, 1):
            bound_to += f"{job.inputs} {options!r} {seed} "  # also bound to the earlier phases
            if folder is None:
                folder = work_folder() / "states" / f"{job.name}-{fingerprint(bound_to)}"
                if first:
                    stack.enter_context(only_writer(folder))
                    forget_old_states(folder)
            distributed.check_equal(
                bound_to, "has other data, settings or code: give all machines the same project"
            )
            state = State(folder / ("resume.pt" if number == 1 else f"resume_{number}.pt"), bound_to)
            epochs, kept_scores = _fit(job, options, seed, state, live)
            history, kept = history + epochs, kept_scores or kept
        on_first(lambda: write(history, kept))
        if first:
            shutil.rmtree(folder, ignore_errors=True)
    return history, kept


def _beginning(job: Job) -> str:
    """The start of training: the hash of the stage's code and a hash of the first weights."""
    weights = hashlib.sha256()
    for name, tensor in job.model.state_dict().items():
        weights.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        weights.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    code = describe_code(f"stages.{job.name}", Path(__file__).resolve().parents[2])
    return f"{fingerprint(code)} {weights.hexdigest()} "


def _fit(
    job: Job, options: TrainingSettings, seed: int, state: State, live: Live | None
) -> tuple[list[dict[str, float]], dict[str, float] | None]:
    device, dtype = pick_device(), pick_dtype(options.precision, pick_device())
    model = job.model.to(device)
    optimizer = torch.optim.AdamW(_groups(job, options), lr=options.lr, betas=(0.9, 0.98), fused=True)
    average = _Average(model, job.ema)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    together = f" in each of {distributed.count()} processes" if distributed.count() > 1 else ""
    print(f"{job.name}: {describe(device, dtype)}{together}; {trained:,} of {total:,} weights train; "
          f"{options.epochs} epochs of {job.steps} steps")  # fmt: skip

    first, best, history = state.load(model, optimizer, average)
    distributed.check_equal(first, "has another training state: all machines must share the working folder")
    for scores in history:  # a resumed run draws the whole curve
        _log(live, scores)
    if job.keep_start and best is None and options.epochs:
        best = Best.of(model, 0, on_first(lambda: _evaluate(job, device, dtype)))
        print(f"{job.name}: begins with {_shown(best.scores)}")
    stale = first - best.epochs if best else 0
    recordable, alone = job.recordable and device.type == "cuda", distributed.count() == 1
    make_step = recorded_step if recordable and alone else partial(training_step, cast=recordable)
    step = make_step(model, job.loss, optimizer, dtype, options.clip_norm, job.prepare)
    for epoch in range(first, options.epochs):
        if stale >= options.patience:
            print(f"stopped early: no better {job.monitor} in {stale} epochs")
            break
        start = time.monotonic()
        distributed.seed_draws(seed, epoch)
        train_loss = _epoch(job, step, optimizer, average, options, epoch)
        seconds = time.monotonic() - start
        with average.in_place():
            scores = {job.curve: train_loss} | on_first(lambda: _evaluate(job, device, dtype))
            if not math.isfinite(score := scores[job.monitor]):
                raise UserError(
                    f"{job.name}: {job.monitor} is {score} after epoch {epoch + 1}; {_remedy(job)}"
                )
            if better := best is None or job.prefers(scores, best.scores):
                best = Best.of(model, epoch + 1, scores)
            stale = epoch + 1 - best.epochs
            history.append(scores)
            _log(live, scores)
            mark = "  *" if better else ""
            print(f"epoch {epoch + 1}/{options.epochs}  {_shown(scores)}  {seconds:.1f} s{mark}", flush=True)
            for line in job.samples() if job.samples and live else []:
                print(f"    {line}", flush=True)
        if live:
            state.save(model, optimizer, average, epoch + 1, best, history)
    if best:
        model.load_state_dict(best.weights, strict=False)
        kept = f"kept epoch {best.epochs}" if best.epochs else "kept the starting weights"
        print(f"{job.name}: {kept}, {job.monitor} {rounded(best.scores[job.monitor])}")
    model.eval()
    return history, best and best.scores


def learning_rate(step: int, steps: int, warmup: float) -> float:
    """The share of the peak rate at `step`: linear warm-up, then half a cosine to 0.

    `warmup` is the share of all steps in which the rate rises.
    """
    rise = max(1, round(steps * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _epoch(
    job: Job,
    step: Callable[..., tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    average: _Average,
    options: TrainingSettings,
    epoch: int,
) -> float:
    """Trains for one epoch. Returns the mean loss."""
    job.model.train()
    total, losses, norms = options.epochs * job.steps, [], []
    batches = track(job.batches(epoch), f"{job.name} epoch {epoch + 1}/{options.epochs}", job.steps, "step")
    for number, batch in enumerate(batches):
        rate = options.lr * learning_rate(epoch * job.steps + number, total, options.warmup)
        for group in optimizer.param_groups:
            set_rate(group, rate * group["scale"])
        loss, norm = step(*batch)
        average.update()
        losses.append(loss)
        norms.append(norm)
        if len(losses) % CHECK_EVERY == 0 or number == job.steps - 1:
            _check_finite(job, epoch, losses, norms)
    return torch.stack(losses).float().mean().item()


def _check_finite(job: Job, epoch: int, losses: list[Tensor], norms: list[Tensor]) -> None:
    first = (len(losses) - 1) // CHECK_EVERY * CHECK_EVERY
    # (2, steps)
    recent = torch.stack([torch.stack(losses[first:]).float(), torch.stack(norms[first:]).float()])
    bad = ~recent.isfinite().all(dim=0)
    if bad.any():
        at = int(bad.nonzero()[0])
        raise UserError(
            f"{job.name}: epoch {epoch + 1}, step {first + at + 1} of {job.steps}: loss {recent[0, at]:.4g}, "
            f"gradient norm {recent[1, at]:.4g}; {_remedy(job)}"
        )


def _remedy(job: Job) -> str:
    stage = job.name.partition(".")[0]  # a second phase has its own rate, but the stage's other settings
    return f"lower {job.name}.lr, raise {stage}.warmup or set {stage}.precision to fp32"


@torch.no_grad()
def _evaluate(job: Job, device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    job.model.eval()
    with autocast(device, dtype):
        return {name: float(value) for name, value in job.evaluate().items()}


def _groups(job: Job, options: TrainingSettings) -> list[dict]:
    """Parameter groups for AdamW: matrices decay; biases, norms and other vectors do not."""
    result = []
    for group in job.groups or [{"params": list(job.model.parameters()), "scale": 1.0}]:
        params = [parameter for parameter in group["params"] if parameter.requires_grad]
        matrices, others = [p for p in params if p.ndim > 1], [p for p in params if p.ndim < 2]
        for decay, chosen in ((options.weight_decay, matrices), (0.0, others)):
            if chosen:
                result.append({"params": chosen, "scale": group["scale"], "weight_decay": decay})
    return result


def _shown(scores: dict[str, float]) -> str:
    return "  ".join(f"{name} {rounded(value)}" for name, value in scores.items())


def _log(live: Live | None, scores: dict[str, float]) -> None:
    if live:
        live.step = live.step or 1  # epochs count from 1
        for name, value in scores.items():
            live.log_metric(name, value, plot=True)
        live.next_step()


class _Average:
    """An exponential moving average of the trained weights; empty if the decay is 0."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.weights = [p for p in model.parameters() if p.requires_grad] if decay else []
        self.means = [weight.detach().clone() for weight in self.weights]

    @torch.no_grad()
    def update(self) -> None:
        """Updates the average after a step.

        The first steps have more weight. Otherwise the initial weights would dominate for a long time.
        """
        self.steps += 1
        if self.means:
            torch._foreach_lerp_(self.means, self.weights, 1 - min(self.decay, self.steps / (self.steps + 9)))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Swaps the average into the model inside the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for i, weight in enumerate(self.weights):
            weight.data, self.means[i] = self.means[i], weight.data

    def state(self) -> dict:
        return {"steps": self.steps, "means": self.means}

    def load(self, state: dict) -> None:
        self.steps = state["steps"]
        for mean, stored in zip(self.means, state["means"], strict=True):
            mean.copy_(stored)
