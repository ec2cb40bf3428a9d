"""Samples captions from the model's distribution, for self-critical training and for diverse captions.

Decoders are used as in `captioning.search.base`, with the same cached steps: an image is encoded once for all
of its samples.
"""

from collections.abc import Collection

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
        rules: of these, `max_tokens`, `eos_id` and `banned_ids`; the probability of banned tokens is shared
            among the allowed ones.
        count: captions an image.
        top_p: each token is drawn from the smallest set of most probable tokens that reaches this probability
            (nucleus sampling, Holtzman et al. 2020, https://arxiv.org/abs/1904.09751); 1 for all tokens.
        temperature: divides the logits first; below 1 favours probable tokens.
        generator: of random numbers, on the model's device; an equal state gives equal captions.
        chances: (B, count, T) in [0, 1), random numbers to use instead, one a token, with `top_p` 1 and T of
            `rules.max_tokens` or more. An image's captions then do not depend on the other images.

    Returns:
        `count` hypotheses an image in the order of drawing. Their `log_probs` are the model's own, unaffected
        by `top_p`, `temperature` and `banned_ids`; `score` is their mean.
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
            token = token.view(over.shape).masked_fill(over, eos_id)  # what follows an end is not looked at
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


def _draw(
    logits: Tensor,
    banned_ids: Collection[int],
    top_p: float,
    temperature: float,
    generator: torch.Generator | None,
    chance: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """One token a row of logits (N, V), and its log-probability in the model: (N,) each."""
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
    """Draws a column of each row, (N, V) -> (N,), by inversion: one number a row; multinomial draws V."""
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
