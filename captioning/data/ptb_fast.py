"""The PTB tokenizer of the scores, kept running: rewards and dev scores cannot wait for Java to start each time.

`captioning.data.ptb` starts the same program anew for each call. So both give equal tokens, whatever the text.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from captioning.core.errors import UserError
from captioning.core.java import Conversation
from captioning.data.ptb import as_line, program, words_of

# The program reads and writes in blocks of 8 KB. Lines of filler behind the captions push their tokens out.
FILLER, LINES = "a" * 1000, 40
PATIENCE = 120.0  # seconds without an answer; it takes a few milliseconds


class RunningTokenizer:
    """One process of the PTB tokenizer, which ends with this one. Starting it returns at once."""

    def __init__(self) -> None:
        self._java = Conversation(program(), what="the PTB tokenizer", patience=PATIENCE)
        self._owed = 0  # lines of earlier filler that are still to come

    def tokenize(self, captions: Sequence[str]) -> list[str]:
        """As `captioning.data.ptb.ptb_tokenize`. Raises UserError when Java fails."""
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
    """This process's own. Raises UserError when there is no Java."""
    return RunningTokenizer()


def quick_tokenize(captions: Sequence[str]) -> list[str]:
    """Tokens of captions, separated by blanks, exactly as `captioning.data.ptb.ptb_tokenize` has them.

    A call takes about a millisecond; the process's first one .3 s more, in which Java starts.
    """
    return running().tokenize(captions)
