"""Several decoders as one: each next token's probability is the mean of theirs.

It averages probabilities, not logits: the usual ensemble of captioners (Vinyals et al. 2016,
https://arxiv.org/abs/1609.06647, section 4.2.3).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import torch
from torch import Tensor, nn

from captioning.core.errors import UserError
from captioning.core.files import sha256_of
from captioning.core.paths import CONFIG, WEIGHTS
from captioning.decoders.checkpoint import Decoder
from captioning.decoders.kinds import load


class Ensemble(nn.Module):
    """A decoder for `captioning.search.base`, made of decoders with the same vocabulary and features."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def max_tokens(self) -> int | None:
        """The smallest `max_tokens` of the members."""
        limits = [member.max_tokens for member in self.members if member.max_tokens is not None]
        return min(limits, default=None)

    def begin(self, features: Tensor) -> tuple[Tensor, States]:
        """Features -> the first token's log-probabilities (B, V), and a state with one row per image."""
        return _joined([member.begin(features) for member in self.members])

    def step(self, tokens: Tensor, state: States) -> tuple[Tensor, States]:
        """Feeds one token to each row: (N,) -> (N, V)."""
        pairs = zip(self.members, state.own, strict=True)
        return _joined([member.step(tokens, own) for member, own in pairs])


class States:
    """Each member's own state; rows are selected in all of them together."""

    def __init__(self, own: list) -> None:
        self.own = own

    def expand(self, width: int) -> States:
        return States([state.expand(width) for state in self.own])

    def select(self, rows: Tensor) -> States:
        return States([state.select(rows) for state in self.own])


def _joined(answers: list[tuple[Tensor, object]]) -> tuple[Tensor, States]:
    """Joins the members' (logits (N, V), state) to the log of the mean probability (N, V), and all states."""
    total = reduce(torch.logaddexp, (logits.float().log_softmax(dim=1) for logits, _ in answers))  # (N, V)
    return total - math.log(len(answers)), States([state for _, state in answers])


def with_others(decoder: Decoder, folders: Sequence[str]) -> nn.Module:
    """Joins a decoder's network and those of other checkpoint folders; without any, returns it unchanged.

    Raises UserError, with the folder, if its captioner has another kind, vocabulary or features.
    """
    members = [decoder.model]
    for folder in folders:
        if not (Path(folder) / CONFIG).is_file():
            raise UserError(
                f"generate.ensemble: {folder} is not a checkpoint folder; copy one there, "
                "as params.yaml's comment says"
            )
        other = load(folder)
        if other.kind != decoder.kind:
            fault = f"it is of kind {other.kind}, not {decoder.kind}"
        elif _vocabulary(other) != _vocabulary(decoder):
            fault = "its vocabulary differs: it had other captions or other text settings"
        elif other.features != decoder.features:
            keys = [key for key in decoder.features if other.features.get(key) != decoder.features[key]]
            fault = f"it learned from other features ({', '.join(keys) or 'more attributes'} differ)"
        else:
            members.append(other.model)
            continue
        raise UserError(
            f"generate.ensemble: {folder} cannot be joined with the trained {decoder.kind}: {fault}"
        )
    return Ensemble(members).eval() if len(members) > 1 else decoder.model


def _vocabulary(decoder: Decoder) -> tuple[dict, str]:
    tokenizer = json.loads(decoder.text.tokenizer.to_str())
    del tokenizer["post_processor"]  # adds special tokens, which captions are encoded without
    return tokenizer, decoder.text.end


def weights_of(folders: Sequence[str | Path]) -> dict[str, str]:
    """Returns {checkpoint folder: sha256 of its weights}: the networks that wrote a file of captions."""
    return {str(folder): sha256_of(Path(folder) / WEIGHTS) for folder in folders}
