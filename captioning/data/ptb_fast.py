"""A running PTB tokenizer for rewards and dev scores, which cannot wait for Java to start at each call.

`captioning.data.ptb` starts the same program for each call, so both give equal tokens for any text.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from captioning.core.errors import UserError
from captioning.core.java import Conversation
from captioning.data.ptb import as_line, program, words_of

# The program reads and writes in blocks of 8 KB. Lines of filler after the captions flush their tokens.
FILLER, LINES = "a" * 1000, 40
PATIENCE = 120.0  # seconds without an answer; it takes a few milliseconds


class RunningTokenizer:
    """A process of the PTB tokenizer. It ends with this process. Starting it returns at once."""

    def __init__(self) -> None:
        self._java = Conversation(program(), what="the PTB tokenizer", patience=PATIENCE)
        self._owed = 0  # lines of earlier filler not yet read

    def tokenize(self, captions: Sequence[str]) -> list[str]:
        """Same as `captioning.data.ptb.ptb_tokenize`. Raises UserError if Java fails."""
        if not captions:
            return []
        lines = [as_line(caption) for caption in captions]
        end = self._owed + len(lines)
        answers = self._java.ask([*lines, *[FILLER] * LINES], end + 1)
        if answers[end] != FILLER:
            raise UserError(f"the PTB tokenizer did not return one line for each of {len(lines)} captions")
        self._owed = LINES - 1
        return [words_of(line) for line in answers[end - len(lines) : end]]


@functools.cache
def running() -> RunningTokenizer:
    """This process's tokenizer, started at the first call. Raises UserError if Java is missing."""
    return RunningTokenizer()


def quick_tokenize(captions: Sequence[str]) -> list[str]:
    """Tokens of captions, separated by blanks, equal to those of `captioning.data.ptb.ptb_tokenize`.

    A call takes about a millisecond. The first call of a process takes .3 s more: Java starts.
    """
    return running().tokenize(captions)
