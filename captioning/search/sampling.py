"""Samples captions from the model's distribution, for self-critical training and for diverse captions.

Decoders are used as in `captioning.search.base`, with the same cached steps: an image is encoded once for all
of its samples. `sample` drops an image once its captions have ended. `FixedSampler` keeps all rows until the
last caption has ended, so its steps have fixed shapes and a GPU can record them. For that a decoder's state
also offers

    state.fixed(T)         the same rows for T more tokens each, as tensors in any nesting that `step` changes
                           in place or replaces by others of the same shapes
"""

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from captioning.search.base import DEAD, Batch, CaptionModel, Hypothesis, Rules, evaluating, parted


@torch.inference_mode()
def sample(
    model: CaptionModel,
    features: Tensor,
    rules: Rules,
    count: int,
    *,
    top_p: float = 1.0,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    chances: Tensor | None = None,
) -> list[list[Hypothesis]]:
    """Draws `count` captions of each image, token by token, independently of each other.

    Args:
        model: a decoder; its dropout is off during sampling.
        features: (B, ...) what `model.begin` takes.
        rules: only `max_tokens`, `eos_id` and `banned_ids` are used. The probability of banned tokens is
            shared among the allowed ones.
        count: captions per image.
        top_p: each token is drawn from the smallest set of most probable tokens that reaches this probability
            (nucleus sampling, Holtzman et al. 2020, https://arxiv.org/abs/1904.09751); 1 for all tokens.
        temperature: divides the logits first; below 1 favours probable tokens.
        generator: makes random numbers on the model's device; an equal state gives equal captions.
        chances: (B, count, T) in [0, 1), random numbers to use instead, one per token, with `top_p` 1 and T
            of `rules.max_tokens` or more. An image's captions then do not depend on the other images.

    Returns:
        `count` hypotheses per image in the order of drawing. Their `log_probs` are the model's own,
        unaffected by `top_p`, `temperature` and `banned_ids`; `score` is their mean.
    """
    if count < 1 or not 0 < top_p <= 1 or temperature <= 0:
        raise ValueError(
            f"sample needs count >= 1, 0 < top_p <= 1 and temperature > 0, not {count}, "
            f"{top_p} and {temperature}"
        )
    rules, eos_id = rules.within(model), rules.eos_id
    # (n, count, length)
    paths = torch.zeros(len(features), count, 0, dtype=torch.int64, device=features.device)
    chances = None if chances is None else chances.to(features.device)
    gains, over = paths.float(), paths.any(dim=2)  # (n, count, length), (n, count): the end has been drawn
    with evaluating(model):
        batch = Batch(model, features, count)
        for length, logits in batch.steps():
            if length == 1:
                logits = logits.repeat_interleave(count, dim=0)
            # (n * count, 1)
            chance = None if chances is None else chances[batch.images, :, length - 1].view(-1, 1)
            # (n * count,) each
            token, gain = _draw(logits, rules.banned_ids, top_p, temperature, generator, chance)
            token = token.view(over.shape).masked_fill(over, eos_id)  # tokens after the end are ignored
            paths = torch.cat([paths, token[..., None]], dim=2)
            gains = torch.cat([gains, gain.view(over.shape)[..., None]], dim=2)
            over = over | (token == eos_id)
            stay, leave = parted(~over.all(dim=1) & (length < rules.max_tokens))
            ended = zip(paths[leave].tolist(), gains[leave].tolist(), strict=True)
            batch.end(
                leave, [[_hypothesis(*one, eos_id) for one in zip(*image, strict=True)] for image in ended]
            )
            batch.go_on(stay, token)
            paths, gains, over = paths[stay], gains[stay], over[stay]
    return batch.found


class FixedSampler:
    """Draws captions in steps of fixed shapes: the same captions as `sample`, up to rounding.

    Args:
        rules: as in `sample`.
        count: captions per image.
        device: the model's.
        record: makes a recording of a function without gradients, branches or waits.
    """

    look = 8  # tokens after which the host waits to learn whether all captions have ended

    def __init__(
        self,
        model: CaptionModel,
        rules: Rules,
        count: int,
        device: torch.device,
        record: Callable[[Callable], Callable] = lambda work: work,
    ) -> None:
        self.model, self.rules, self.count = model, rules.within(model), count
        self.banned = torch.tensor(sorted(rules.banned_ids), dtype=torch.int64, device=device)
        self.begin, self.go_on = record(self._begin), record(self._go_on)

    @torch.no_grad()
    def __call__(self, features: Tensor, chances: Tensor) -> Tensor:
        """Tokens (B, count, length) of the captions; an end-of-text token is repeated to the end.

        `chances` are as in `sample`. The length is that of the longest caption, rounded up to 1 + a multiple
        of `look`, or `rules.max_tokens`.
        """
        with evaluating(self.model):
            chances = chances[..., : self.rules.max_tokens].flatten(0, 1)  # (N, T)
            chances = chances.to(features.device, non_blocking=True)
            tokens, over, state = self.begin(features, chances[:, :1])
            found = [tokens]
            for start in range(1, chances.shape[1], self.look):
                if over.all():
                    break
                part = chances[:, start : start + self.look]
                tokens, over, state = self.go_on(tokens[:, -1], over, state, part)
                found.append(tokens)
        return torch.cat(found, dim=1).unflatten(0, (-1, self.count))

    def _begin(self, features: Tensor, chance: Tensor) -> tuple[Tensor, Tensor, Any]:
        """The first token of each sample (B * count, 1), whether it is the last, and the decoder's state."""
        logits, state = self.model.begin(features)
        state = state.expand(self.count).fixed(self.rules.max_tokens - 1)
        token = self._drawn(logits.repeat_interleave(self.count, dim=0), chance)
        return token[:, None], token == self.rules.eos_id, state

    def _go_on(self, token: Tensor, over: Tensor, state: Any, chances: Tensor) -> tuple[Tensor, Tensor, Any]:
        """One more token for each number in `chances` (N, n): tokens (N, n), which ended (N,), the state."""
        found = []
        for chance in chances.split(1, dim=1):
            logits, state = self.model.step(token, state)
            token = self._drawn(logits, chance).masked_fill(over, self.rules.eos_id)
            over = over | (token == self.rules.eos_id)
            found.append(token)
        return torch.stack(found, dim=1), over, state

    def _drawn(self, logits: Tensor, chance: Tensor) -> Tensor:
        allowed = logits.float().index_fill(1, self.banned, DEAD)
        return _one_of_each(allowed.softmax(dim=1), None, chance)


def _draw(
    logits: Tensor,
    banned_ids: Collection[int],
    top_p: float,
    temperature: float,
    generator: torch.Generator | None,
    chance: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """One token per row of logits (N, V), and its log-probability in the model: (N,) each."""
    logits = logits.float()
    normalizer = logits.logsumexp(dim=1)  # (N,)
    allowed = logits
    if banned_ids:
        allowed = logits.index_fill(1, torch.tensor(sorted(banned_ids), device=logits.device), DEAD)
    probabilities = (allowed / temperature).softmax(dim=1)
    token = _one_of_each(probabilities, generator, chance)  # (N,)
    # Draws from outside the nucleus are drawn again, which is faster than sorting the vocabulary.
    if top_p < 1:
        rows = torch.arange(len(token), device=token.device)
        while len(rows := rows[_outside(probabilities[rows], token[rows], top_p)]):
            token[rows] = _one_of_each(probabilities[rows], generator)
    return token, logits.gather(1, token[:, None])[:, 0] - normalizer


def _one_of_each(
    probabilities: Tensor, generator: torch.Generator | None, chance: Tensor | None = None
) -> Tensor:
    """Draws a column of each row, (N, V) -> (N,), by inversion.

    This takes one random number per row; torch's multinomial takes V.
    """
    reached = probabilities.cumsum(dim=1)
    if chance is None:
        chance = torch.rand(len(reached), 1, generator=generator, device=reached.device)
    wanted = (1 - chance) * reached[:, -1:]  # above 0, so that no banned first token is taken
    # A NaN stays; training reports it.
    return torch.searchsorted(reached, wanted)[:, 0].clamp(max=reached.shape[1] - 1)


def _outside(probabilities: Tensor, token: Tensor, top_p: float) -> Tensor:
    """(N,) bool: whether the more probable tokens reach `top_p` without this one."""
    better = probabilities > probabilities.gather(1, token[:, None])  # (N, V)
    return (probabilities * better).sum(dim=1) >= top_p


def _hypothesis(path: list[int], gains: list[float], eos_id: int) -> Hypothesis:
    """The caption in a row of tokens that continues past the end-of-text token."""
    ended = eos_id in path
    tokens = path[: path.index(eos_id)] if ended else path
    log_probs = gains[: len(tokens) + ended]
    return Hypothesis(tokens, sum(log_probs) / len(log_probs), log_probs, ended)
