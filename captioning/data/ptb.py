"""Tokenizes captions as the scores do, with coco-caption's PTB tokenizer, for any text.

It is a separate module so that stage prepare, which tokenizes the references once, does not depend on the
scorers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import repeat

from pycocoevalcap.tokenizer import ptbtokenizer

from captioning.core import java
from captioning.core.errors import UserError
from captioning.core.texts import blocks
from captioning.core.work import temporary_folder

PUNCTUATION = frozenset(ptbtokenizer.PUNCTUATIONS)


def ptb_tokenize(captions: Iterable[str]) -> list[str]:
    """Tokenizes captions as coco-caption does: Stanford's PTB tokenizer, lower case, punctuation removed.

    All white space counts as one blank, line separators of every script included. An empty caption gives "".
    Java takes about 0.4 s to start and 6 s for 10^6 captions. Raises UserError if Java is missing or fails.
    """
    return list(ptb_tokens(captions))


def ptb_tokens(captions: Iterable[str]) -> Iterator[str]:
    """The same for more captions than memory holds: they go to Java and back through temporary files."""
    count, words = 0, False
    with tempfile.TemporaryFile(dir=temporary_folder()) as text:
        for block in blocks(captions):
            lines = [as_line(caption) for caption in block]
            text.write(("\n" * (count > 0) + "\n".join(lines)).encode("utf-8", "replace"))
            count, words = count + len(lines), words or any(lines)
        if not words:
            yield from repeat("", count)
            return
        text.seek(0)
        with java.run(program(), text, what="the PTB tokenizer", timeout=120 + count / 1000) as output:
            found = 1 + sum(part.count(b"\n") for part in iter(partial(output.read, 2**16), b""))
            if found != count:
                raise UserError(f"the PTB tokenizer returned {found} lines for {count} captions")
            output.write(b"\n")
            output.seek(0)
            for line in output:
                yield words_of(line.decode("utf-8"))


def program() -> list[str]:
    """Java's arguments to run the tokenizer, which answers each line of text with a line of tokens."""
    jar = java.package_folder() / "tokenizer" / ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR
    return ["-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]


def as_line(caption: str) -> str:
    """A caption as one line for the program. Line separators of every script become blanks."""
    return " ".join(caption.split())


def words_of(line: str) -> str:
    """The words of a line that the program wrote, without punctuation."""
    return " ".join(word for word in line.rstrip().split(" ") if word not in PUNCTUATION)
