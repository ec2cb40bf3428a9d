"""Beam search over image features, all images of a batch at once.

It follows transformers' `generate(num_beams=K, early_stopping=False)` token by token. Each step takes the
best 2K continuations of an image. Those among the best K that end are finished; the best K that do not end
stay alive. An image is done when it has K finished captions and its best live beam, if it ended now, would
not beat the worst of them.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from captioning.core.errors import UserError
from captioning.search.base import (
    DEAD,
    Batch,
    CaptionModel,
    Hypothesis,
    Rules,
    best_tokens,
    evaluating,
    greedy,
    parted,
)


@torch.inference_mode()
def beam_search(model: CaptionModel, features: Tensor, rules: Rules) -> list[list[Hypothesis]]:
    """The `rules.beam_size` best captions of each image, best first; a beam of one is `greedy`.

    Args:
        model: a decoder; its dropout is off during the search.
        features: (B, ...) what `model.begin` takes.

    Raises:
        UserError: the model's scores are not numbers.
    """
    rules = rules.within(model)
    if rules.beam_size == 1:
        return _scored(greedy(model, features, rules))
    beams = LiveBeams.start(len(features), rules, features.device)
    with evaluating(model):
        batch = Batch(model, features, rules.beam_size)
        for _, logits in batch.steps():
            beams, parents = beams.advance(logits, rules)
            stay, leave = parted(beams.going)
            if len(leave):
                batch.end(leave, beams.ended.at(leave).hypotheses())
            batch.go_on(stay, beams.paths[..., -1], parents)
            beams = beams.at(stay)
    return batch.found


class LiveBeams(NamedTuple):
    """The W live beams of each image, one before the first token and then K, and its finished captions."""

    paths: Tensor  # (n, W, length) tokens
    gains: Tensor  # (n, W, length) their log-probabilities
    scores: Tensor  # (n, W) their sums, less any handicap
    ended: "Ended"

    @classmethod
    def start(cls, images: int, rules: Rules, device: torch.device) -> "LiveBeams":
        scores = torch.zeros(images, 1, device=device)
        paths = torch.zeros(images, 1, 0, dtype=torch.int64, device=device)
        ended = Ended.empty(images, rules.beam_size, rules.max_tokens, device)
        return cls(paths, paths.float(), scores, ended)

    def at(self, images: Tensor) -> "LiveBeams":
        return LiveBeams(self.paths[images], self.gains[images], self.scores[images], self.ended.at(images))

    @property
    def going(self) -> Tensor:
        """(n,) bool: the image is not done."""
        return self.scores[:, 0].isfinite()

    def advance(
        self, logits: Tensor, rules: Rules, handicap: Tensor | None = None
    ) -> tuple["LiveBeams", Tensor]:
        """Adds a token: the K live beams of each image, and the beam that each one continues, (n, K).

        The beams of a finished image have a score of minus infinity from then on.

        Args:
            logits: (n * W, V) of the next token.
            handicap: (n, V) subtracted from the log-probabilities of all beams of an image.
        """
        size, length = rules.beam_size, self.paths.shape[2] + 1
        gain, worth, token = best_tokens(logits, 2 * size, self.paths.flatten(0, 1), rules, handicap)
        # (n, 2K) each
        total, parent, gain, token = _best_continuations(self.scores, gain, worth, token, 2 * size)
        # (n, 2K, length)
        paths, gains = _extend(self.paths, parent, token), _extend(self.gains, parent, gain)

        # Those that end here. The lower half of the 2K only serves to keep K beams alive.
        ends = (token == rules.eos_id) | (length >= rules.max_tokens)
        best_half = torch.arange(2 * size, device=total.device) < size
        final = (total / length**rules.length_penalty).masked_fill(~(ends & best_half), DEAD)
        ended = self.ended.merged(final, paths, gains, token == rules.eos_id)

        # Those that stay alive.
        scores, picked = total.masked_fill(ends, DEAD).topk(size, dim=1)  # (n, K)
        paths, gains = (_picked(x, picked) for x in (paths, gains))  # (n, K, length)
        best = scores[:, :1] / length**rules.length_penalty
        done = best <= ended.scores[:, -1:]  # the worst of K; minus infinity until there are K
        return LiveBeams(paths, gains, scores.masked_fill(done, DEAD), ended), parent.gather(1, picked)


class Ended(NamedTuple):
    """The K best finished captions of each image, best first; minus infinity marks an empty place."""

    scores: Tensor  # (n, K)
    paths: Tensor  # (n, K, max_tokens), zeros after the end
    gains: Tensor  # (n, K, max_tokens)
    lengths: Tensor  # (n, K) tokens, end-of-text counted
    complete: Tensor  # (n, K) bool: ended by itself

    @classmethod
    def empty(cls, images: int, beams: int, max_tokens: int, device: torch.device) -> "Ended":
        scores = torch.full((images, beams), DEAD, device=device)
        paths = torch.zeros(images, beams, max_tokens, dtype=torch.int64, device=device)
        return cls(scores, paths, paths.float(), paths[..., 0], paths[..., 0].bool())

    def at(self, images: Tensor) -> "Ended":
        return Ended(*(x[images] for x in self))

    def merged(self, scores: Tensor, paths: Tensor, gains: Tensor, complete: Tensor) -> "Ended":
        """The best K of these and M candidates: scores, complete (n, M), paths and gains (n, M, length)."""
        length = paths.shape[2]
        lengths = torch.full_like(complete, length, dtype=torch.int64)  # (n, M)
        paths, gains = (F.pad(x, (0, self.paths.shape[2] - length)) for x in (paths, gains))
        scores, best = torch.cat([self.scores, scores], dim=1).topk(self.scores.shape[1], dim=1)  # (n, K)
        return Ended(
            scores,
            _picked(torch.cat([self.paths, paths], dim=1), best),
            _picked(torch.cat([self.gains, gains], dim=1), best),
            torch.cat([self.lengths, lengths], dim=1).gather(1, best),
            torch.cat([self.complete, complete], dim=1).gather(1, best),
        )

    def hypotheses(self) -> list[list[Hypothesis]]:
        """As Python objects, an image at a time. Raises UserError if scores are not numbers."""
        rows = zip(*(x.tolist() for x in self), strict=True)
        found = [  # a beam keeps no caption whose score is not a number
            [
                Hypothesis(path[: length - complete], score, gains[:length], complete)
                for score, path, gains, length, complete in zip(*row, strict=True)
                if score > DEAD
            ]
            for row in rows
        ]
        return _scored(found)


def _scored(found: list[list[Hypothesis]]) -> list[list[Hypothesis]]:
    """The same. Raises UserError if an image has no caption, or its first caption's score is not a number."""
    if not all(captions and not math.isnan(captions[0].score) for captions in found):
        raise UserError(
            "the captioner's scores are not numbers, so its weights are broken: train it again, "
            "or get its files again"
        )
    return found


def _best_continuations(
    scores: Tensor, gains: Tensor, worths: Tensor, tokens: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """An image's `count` best continuations, best first: totals, parents, gains, tokens, (n, count) each.

    Args:
        scores: (n, W) of the beams so far.
        gains, worths, tokens: (n * W, M) of each beam's best next tokens; a total is score + worth.
    """
    images, width = scores.shape
    gains, worths, tokens = (x.view(images, -1) for x in (gains, worths, tokens))  # (n, W * M)
    choices = gains.shape[1] // width
    totals = scores.repeat_interleave(choices, dim=1) + worths
    if totals.shape[1] < count:  # a vocabulary of fewer than `count` tokens
        missing = (0, count - totals.shape[1])
        totals = F.pad(totals, missing, value=DEAD)
        gains, tokens = F.pad(gains, missing), F.pad(tokens, missing)
    totals, best = totals.topk(count, dim=1)
    return totals, (best // choices).clamp(max=width - 1), gains.gather(1, best), tokens.gather(1, best)


def _extend(history: Tensor, parents: Tensor, new: Tensor) -> Tensor:
    """(n, W, length) of the parents, one longer: (n, M, length + 1)."""
    return torch.cat([_picked(history, parents), new[..., None]], dim=2)


def _picked(histories: Tensor, beams: Tensor) -> Tensor:
    """(n, W, length), (n, M) -> (n, M, length)."""
    return histories.gather(1, beams[..., None].expand(-1, -1, histories.shape[2]))
