"""Reads a caption back into facts, and says which of them are true of a scene.

`mentioned(caption)` turns words into labels in six categories. `true_of(facts)` gives every true label in the
same categories and, under "core", the groups of labels of which a full caption names one each.
`check(caption, facts)` compares the two, for any caption.
"""

from __future__ import annotations

import re

from scenes import words
from scenes.english import ing, third

CATEGORIES = ("kind", "count", "colour", "action", "place", "time")
NUMBERS = {
    "a": "one", "an": "one", "his": "one", "her": "one", "the": "one", "one": "one", "two": "two",
    "three": "three", "couple": "two", "pair": "two", "several": "many", "group": "many", "some": "many",
}  # fmt: skip
COLOURS = {c: c for c in "red blue yellow green white black pink orange brown gray purple".split()} | {
    "tan": "brown",
    "grey": "gray",
}
HAIR = {"blond": "blond", "blonde": "blond", "red-haired": "red"}
BESIDE = frozenset(
    "little young hot air sailing city big palm tee winter wooden pine bearded".split()
)  # between adjective and noun
PLACES = {word: label for label, text in words.PLACE_WORDS.items() for word in text.split()}
TIMES = {word: label for label, text in words.TIME_WORDS.items() for word in text.split()}
GARMENTS = {
    form.split()[-1] for options in words.CLOTHES.values() for both in options for form in both.split("/")
}
OTHER_NOUNS = {
    "sky",
    "barn",
    "field",
    "grass",
    "water",
    "ocean",
    "day",
    "camera",
    "eyes",
    "collar",
    "beak",
}  # may have a colour of their own


def _nouns() -> dict[str, tuple[str, bool]]:
    """Every noun's last word -> (label, plural)."""
    found: dict[str, tuple[str, bool]] = {}
    for kind, options in words.NOUNS.items():
        for both in options:
            singular, _, plural = both.partition("/")
            label = words.SAME_AS.get(singular.split()[-1], kind)
            found.setdefault(singular.split()[-1], (label, False))
            if plural:
                found.setdefault(plural.split()[-1], (label, True))
    del found["couple"]
    return found


NOUNS = _nouns()
VERBS = {
    form: label
    for label, text in words.ACTION_WORDS.items()
    for verb in text.split()
    for form in (verb, third(verb), ing(verb))
}


def mentioned(caption: str) -> dict[str, list[str]]:
    """The facts that a caption mentions, as sorted labels, e.g. of "A man in red runs on the beach."

        {"kind": ["man"], "count": ["one man"], "colour": ["red clothes"], "action": ["run"],
         "place": ["beach"], "time": []}

    A plural noun without a number counts as "many". Words that the scenes do not know are skipped.
    """
    tokens = re.findall(r"[a-z]+(?:-[a-z]+)*", caption.lower())
    found: dict[str, set[str]] = {category: set() for category in CATEGORIES}
    number, colour = "many", None  # number and colour of the noun that follows
    for before, word, after in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False):
        noun = _is_noun(before, word)
        if colour and not (
            noun or word in COLOURS or word in BESIDE or word in OTHER_NOUNS or word == "hair"
        ):
            found["colour"].add(f"{colour} clothes")  # "a man in red"
            colour = None
        if word in COLOURS:
            colour = COLOURS[word]
        elif word in HAIR:
            found["colour"].add(f"{HAIR[word]} hair")
        elif word == "couple" and after != "of":
            found["kind"] |= {"man", "woman"}
        elif word in NUMBERS and after not in ("couple", "pair", "group"):
            number = NUMBERS[word]
        elif word == "hair" or word in OTHER_NOUNS:
            if word == "hair" and (colour or before in HAIR):
                found["colour"].add(f"{colour or HAIR[before]} hair")
            number, colour = "many", None
        elif noun and word in GARMENTS:
            if colour:
                found["colour"].add(f"{colour} clothes")
            number, colour = "many", None
        elif noun:
            label, plural = NOUNS[word]
            label = "hot air balloon" if label == "balloon" and before == "air" else label
            found["kind"].add(label)
            found["count"].add(f"{number if plural else 'one'} {label}")
            if colour:
                found["colour"].add(f"{colour} {label}")
            number, colour = "many", None
        elif word not in BESIDE and word not in HAIR and word != "of":
            number = "many"
        if _is_verb(before, word, after):
            found["action"].add(VERBS[word])
        if (
            word in PLACES
            and not (word == "waves" and VERBS[word] in found["action"])
            and not (word == "grass" and VERBS.get(before) == "eat")
            and not (word == "city" and after.startswith("bus"))
        ):
            found["place"].add(PLACES[word])
        if word in TIMES:
            found["time"].add(TIMES[word])
    if colour:
        found["colour"].add(f"{colour} clothes")
    return {category: sorted(labels) for category, labels in found.items()}


def _is_noun(before: str, word: str) -> bool:
    """Whether a word that scenes know is a noun here: "rides a sled", "in a top", not the verb "sleds"."""
    described = before in NUMBERS or before in COLOURS or before in BESIDE
    return (word in NOUNS or word in GARMENTS) and (
        word not in VERBS or (described and not word.endswith("s"))
    )


def _is_verb(before: str, word: str, after: str) -> bool:
    """Whether it is a verb or a noun of its meaning ("a swim"); sea waves and sailing boats are not."""
    wave = word in ("wave", "waves") and before in ("a", "the")
    return word in VERBS and not _is_noun(before, word) and not wave and not after.startswith("boat")


def true_of(facts: dict) -> dict[str, list]:
    """Every label that is true of a scene, in `mentioned`'s categories.

    "core" has pairs [category, labels]; a full caption names one label of each.
    """
    true: dict[str, set[str]] = {category: set() for category in CATEGORIES}
    core: list[list] = []
    subjects, totals = facts["subjects"], {}
    for thing in [*subjects, *facts["objects"]]:
        labels = words.KIND_LABELS.get(thing["kind"], (thing["kind"],))
        main, count = "action" in thing, thing["count"]
        true["kind"].update(labels)
        core.append(["kind", list(labels)])
        for label in labels:
            totals[label] = totals.get(label, 0) + count
            true["count"] |= {f"one {label}"} if count == 1 else set()
        if main and count > 1:
            core.append(["count", [f"{_number(count)} {label}" for label in labels]])
        if thing.get("colour"):
            owners = ("clothes",) if "wear" in thing else labels
            coloured = [f"{thing['colour']} {owner}" for owner in owners]
            true["colour"].update(coloured)
            core.append(["colour", coloured])
        if thing.get("hair"):
            true["colour"].add(f"{thing['hair']} hair")
    for label, count in totals.items():
        true["count"] |= {f"{_number(count)} {label}", f"many {label}"} if count > 1 else set()
    for number, subject in enumerate(subjects):
        action = subject["action"]
        held = f"{action} {facts['objects'][0]['kind']}" if facts["objects"] else action
        labels = words.ACTION_LABELS.get(held, words.ACTION_LABELS[action])
        true["action"].update(labels)
        if number == 0:
            core.append(["action", list(labels)])
    near = words.SCENERY.get(facts["place"], ())
    if facts["relation"]:
        near += words.KIND_LABELS.get(facts["relation"]["to"], (facts["relation"]["to"],))
    for label in near:
        true["kind"].add(label)
        true["count"] |= {f"one {label}", f"many {label}"}
        true["colour"] |= {"white fence"} if label == "fence" else set()
    places = words.PLACE_LABELS[facts["place"]]
    true["place"].update(places)
    core.append(["place", list(places)])
    true["time"].add(facts["time"])
    return {**{category: sorted(labels) for category, labels in true.items()}, "core": core}


def check(caption: str, facts: dict) -> dict:
    """Precision and recall of a caption's facts, and what it got wrong.

    precision: share of its labels that are true of the scene (1.0 if it has none). recall: share of the
    scene's core facts (who, how many, colours, action, place) that it names. wrong: its labels that are not
    true.
    """
    found, true = mentioned(caption), true_of(facts)
    wrong = [label for category in CATEGORIES for label in found[category] if label not in true[category]]
    total = sum(len(labels) for labels in found.values())
    named = sum(any(label in found[category] for label in labels) for category, labels in true["core"])
    return {
        "precision": 1 - len(wrong) / total if total else 1.0,
        "recall": named / len(true["core"]),
        "wrong": wrong,
    }


def _number(count: int) -> str:
    return {1: "one", 2: "two", 3: "three"}.get(count, "many")
