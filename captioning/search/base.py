"""What all searches share, and greedy search. One implementation serves every decoder.

A decoder offers these (see `models.lstm.LSTMDecoder` and `models.clipcap.ClipCap`):

    begin(features) -> (logits (B, V), state)            the first token's logits; a state, one row per image
    step(tokens (N,), state) -> (logits (N, V), state)   one more token per row; row b * K + k: beam k of b
    state.expand(K), state.select(rows)                  K rows of each; rows in a new order, images may leave
    max_tokens                                           of its longest caption, end-of-text counted, or None

Further searches: `captioning.search.beam`, `captioning.search.diverse`, `captioning.search.sampling`.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from captioning.core.settings import GenerateSettings
from captioning.decoders.vocabulary import Text

DEAD = float("-inf")  # score of a token or caption that is not allowed


class CaptionModel(Protocol):
    training: bool
    max_tokens: int | None

    def train(self, mode: bool = True) -> Any: ...
    def begin(self, features: Tensor) -> tuple[Tensor, Any]: ...
    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]: ...


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rules of a search.

    Attributes:
        max_tokens: longest caption, the end-of-text token counted; the model's own limit where that is lower.
        eos_id: the end-of-text token.
        banned_ids: tokens that are never generated.
        beam_size: captions that a beam search keeps. `greedy` and `sample` ignore it.
        length_penalty: a score is the log-probability / length ** length_penalty: 0 favours short captions, 1
            takes the mean per token, more than 1 favours long ones. `sample` always takes the mean.
        no_repeat_ngram: no sequence of this many tokens occurs twice in a caption; 0 for no such rule.
            `sample` ignores it.
    """

    max_tokens: int
    eos_id: int
    banned_ids: Collection[int] = ()
    beam_size: int = 1
    length_penalty: float = 1.0
    no_repeat_ngram: int = 0

    @classmethod
    def of(cls, options: GenerateSettings, text: Text) -> "Rules":
        """The rules that the settings `generate` and a decoder's tokens give."""
        return cls(
            max_tokens=options.max_tokens,
            eos_id=text.eos_id,
            banned_ids=text.banned_ids,
            beam_size=options.beam_size,
            length_penalty=options.length_penalty,
            no_repeat_ngram=options.no_repeat_ngram,
        )

    def within(self, model: CaptionModel) -> "Rules":
        """These rules with the model's limit of `max_tokens`. Raises ValueError if they allow no caption."""
        if self.beam_size < 1 or self.max_tokens < 1:
            raise ValueError(
                f"beam_size and max_tokens must be 1 or more, not {self.beam_size} and {self.max_tokens}"
            )
        if model.max_tokens is None:
            return self
        return replace(self, max_tokens=min(self.max_tokens, model.max_tokens))


@dataclass(frozen=True)
class Hypothesis:
    """A caption as tokens.

    Attributes:
        tokens: without the end-of-text token.
        score: sum of `log_probs` / len(log_probs) ** length_penalty, by which hypotheses are ranked.
        log_probs: each token's, in nats; one more than `tokens` if the caption ended by itself.
        ended: False when it was cut at `max_tokens`.
    """

    tokens: list[int]
    score: float
    log_probs: list[float]
    ended: bool


class Batch:
    """The unfinished images, each with W rows in the decoder, and the captions of the finished ones.

    Attributes:
        found: for each image the captions that it ended with.
        images: (n,) which ones are still in the batch.
    """

    def __init__(self, model: CaptionModel, features: Tensor, width: int) -> None:
        self.model, self.width = model, width
        self.found: list[list[Hypothesis]] = [[] for _ in range(len(features))]
        self.images = torch.arange(len(features), device=features.device)
        if self.found:
            self.logits, state = model.begin(features)
            self.state = state.expand(width)

    def steps(self) -> Iterator[tuple[int, Tensor]]:
        """While images are left, yields their captions' length after the next token, and its logits.

        The first token's logits are (n, V), one row per image; later ones are (n * W, V).
        """
        length = 0
        while len(self.images):
            length += 1
            yield length, self.logits

    def end(self, leave: Tensor, captions: list[list[Hypothesis]]) -> None:
        """Removes the images at these positions (m,): they are finished."""
        for image, of_image in zip(self.images[leave].tolist(), captions, strict=True):
            self.found[image] = of_image

    def go_on(self, stay: Tensor, tokens: Tensor, parents: Tensor | None = None) -> None:
        """Adds a token to the images at the other positions (n',).

        Args:
            tokens: (n, W) the newest.
            parents: (n, W) the row of its image that each row continues; None: every row continues itself.
        """
        before, self.images = self.images, self.images[stay]
        if len(stay) == 0:
            return
        if parents is not None or len(stay) < len(before):
            rows = torch.arange(len(before) * self.width, device=stay.device).view(-1, self.width)  # (n, W)
            rows = rows if parents is None else rows[:, :1] + parents
            self.state = self.state.select(rows[stay].flatten())
        self.logits, self.state = self.model.step(tokens[stay].flatten(), self.state)


def parted(going: Tensor) -> tuple[Tensor, Tensor]:
    """The positions where (n,) booleans are true, and where they are false."""
    return going.nonzero()[:, 0], (~going).nonzero()[:, 0]


@contextmanager
def evaluating(model: CaptionModel) -> Iterator[None]:
    """Sets eval mode inside the block; restores the previous mode."""
    training = model.training
    model.train(False)
    try:
        yield
    finally:
        model.train(training)


def best_tokens(
    logits: Tensor,
    count: int,
    paths: Tensor,
    rules: Rules,
    handicap: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The `count` best allowed next tokens of each row: log-probabilities, the same minus the handicap, ids.

    (N, count) each. Banned tokens keep their share of the probability, as in transformers' logits processors:
    the others are not renormalized.
    """
    gains = logits.float().log_softmax(dim=1)  # (N, V)
    if rules.banned_ids:
        gains = gains.index_fill(1, torch.tensor(sorted(rules.banned_ids), device=gains.device), DEAD)
    n = rules.no_repeat_ngram
    if n and paths.shape[1] >= n:
        windows = paths.unfold(1, n, 1)  # (N, length - n + 1, n): all n-grams so far
        newest = paths[:, paths.shape[1] + 1 - n :]  # (N, n-1): what the next token would complete
        repeats = (windows[..., :-1] == newest[:, None]).all(dim=2)  # (N, length - n + 1)
        limit = torch.full(repeats.shape, float("inf"), device=gains.device).masked_fill(repeats, DEAD)
        gains = gains.scatter_reduce(1, windows[..., -1], limit, "amin")
    count = min(count, gains.shape[1])
    if handicap is None:
        best, tokens = gains.topk(count, dim=1)
        return best, best, tokens
    worth = gains - handicap.repeat_interleave(len(gains) // len(handicap), dim=0)
    worth, tokens = worth.topk(count, dim=1)
    return gains.gather(1, tokens), worth, tokens


@torch.inference_mode()
def greedy(model: CaptionModel, features: Tensor, rules: Rules) -> list[list[Hypothesis]]:
    """Greedy search: always the most probable next token, one caption per image."""
    rules = rules.within(model)
    paths = torch.zeros(len(features), 0, dtype=torch.int64, device=features.device)  # (n, length)
    gains = paths.float()  # (n, length)
    with evaluating(model):
        batch = Batch(model, features, 1)
        for length, logits in batch.steps():
            gain, _, token = best_tokens(logits, 1, paths, rules)  # (n, 1) each
            paths, gains = torch.cat([paths, token], dim=1), torch.cat([gains, gain], dim=1)
            stay, leave = parted((token[:, 0] != rules.eos_id) & (length < rules.max_tokens))
            ended = zip(paths[leave].tolist(), gains[leave].tolist(), strict=True)
            divisor = length**rules.length_penalty
            batch.end(leave, [[_hypothesis(*one, divisor, rules.eos_id)] for one in ended])
            batch.go_on(stay, token)
            paths, gains = paths[stay], gains[stay]
    return batch.found


def _hypothesis(path: list[int], gains: list[float], divisor: float, eos_id: int) -> Hypothesis:
    ended = path[-1] == eos_id
    return Hypothesis(path[: len(path) - ended], sum(gains) / divisor, gains, ended)
