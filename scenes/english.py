"""The little English grammar that the captions need."""

from __future__ import annotations

import re

DOUBLED = ("run", "jog", "sit", "swim", "sled", "nap")  # verbs that double their last letter before -ing


def ing(verb: str) -> str:
    """The -ing form of a verb phrase's verb: "ride a bike" -> "riding a bike"."""
    head, _, rest = verb.partition(" ")
    if head in DOUBLED:
        head += head[-1]
    elif head == "lie":
        head = "ly"
    elif head.endswith("e") and not head.endswith("ee"):
        head = head[:-1]
    rest = re.sub(r"^and (\w+)", lambda m: "and " + ing(m.group(1)), rest)
    return f"{head}ing {rest}".strip()


def third(verb: str) -> str:
    """The third person singular: "ride a bike" -> "rides a bike"."""
    head, _, rest = verb.partition(" ")
    if head.endswith(("ch", "sh", "ss", "x", "go")):
        head += "es"
    elif head.endswith("y") and head[-2] not in "aeiou":
        head = head[:-1] + "ies"
    else:
        head += "s"
    rest = re.sub(r"^and (\w+)", lambda m: "and " + third(m.group(1)), rest)
    return f"{head} {rest}".strip()


def article(noun: str) -> str:
    """ "a" or "an" before the noun."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
