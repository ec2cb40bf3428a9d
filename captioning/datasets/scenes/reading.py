"""Read a caption back into facts, and say which of them are true of a scene.

`mentioned(caption)` turns words into labels in six categories; `true_of(facts)` gives, for the same categories, every
label that would be right and, under "core", the groups of which a full caption names one each. So, for any caption,

    precision = share of its labels that are true,   recall = share of the core groups that it names.
"""

from __future__ import annotations

import re

from captioning.datasets.scenes import words
from captioning.datasets.scenes.english import ing, third

CATEGORIES = ("kind", "count", "colour", "action", "place", "time")
NUMBERS = {"one": "one", "two": "two", "three": "three", "couple": "two", "pair": "two", "several": "many", "group": "many", "some": "many"}
GARMENTS = {form: "clothes" for options in words.CLOTHES.values() for both in options for form in both.split("/")}
COLOUR_WORDS = {word: colour for colour, options in words.COLOURS.items() for word in options}
TIME_WORDS = {"sunset": "sunset", "sets": "sunset", "evening": "sunset", "night": "night", "dark": "night", "moon": "night", "rain": "rain",
              "rainy": "rain", "sunny": "day", "sky": "day"}


def _nouns() -> dict[str, tuple[str, bool]]:
    """Every noun's last word -> (label, plural)."""
    found: dict[str, tuple[str, bool]] = {}
    for kind, options in words.NOUNS.items():
        for both in options:
            for form, plural in zip(both.split("/"), (False, True), strict=False):
                last = form.split()[-1]
                base = both.split("/")[0].split()[-1]
                found.setdefault(last, (words.NOUN_LABELS.get(base, base if " " in both else kind), plural))
    found.update({"balloon": ("balloon", False), "balloons": ("balloon", True), "woman": ("woman", False), "girl": ("girl", False)})
    found.pop("couple", None)
    return found


def _verbs() -> dict[str, str]:
    """Every form of every verb -> its canonical action."""
    return {form: label for label, verbs in words.ACTION_LABELS.items() for verb in verbs for form in (verb, third(verb), ing(verb))}


NOUNS, VERBS = _nouns(), _verbs()
PLACES = {word: label for label, forms in words.PLACE_WORDS.items() for word in forms}


def mentioned(caption: str) -> dict[str, list[str]]:
    """The facts a caption mentions: {"kind": ["man"], "count": ["one man"], "colour": ["red clothes"], "action": ["run"],
    "place": ["beach"], "time": []}. Words that the scenes do not know are passed over; labels are sorted and unique.
    """
    tokens = re.findall(r"[a-z]+(?:-[a-z]+)*", caption.lower())
    found: dict[str, set[str]] = {category: set() for category in CATEGORIES}
    number, colour = "many", None  # of the next noun
    for place, word in enumerate(tokens):
        after = tokens[place + 1] if place + 1 < len(tokens) else ""
        before = tokens[place - 1] if place else ""
        if word in ("a", "an") and after not in ("couple", "pair", "group"):
            number = "one"
        elif word in ("his", "her", "the"):
            number = "one"
        elif word == "couple" and after != "of":
            found["kind"] |= {"man", "woman"}
        elif word in NUMBERS:
            number = NUMBERS[word]
        elif word in COLOUR_WORDS and not (word == "orange" and before in ("an", "a") and after in VERBS) and after != "sky":
            colour = COLOUR_WORDS[word]
            if after not in NOUNS and after not in GARMENTS and after not in COLOUR_WORDS and after not in ("little", "young", "hot", "sailing", "palm"):
                found["colour"].add(f"{colour} clothes")  # "a man in red"
                colour = None
        elif word in GARMENTS and before != "down":
            if colour:
                found["colour"].add(f"{colour} clothes")
            number, colour = "many", None
        elif word in NOUNS and not (word in VERBS and before in NOUNS):
            label, plural = NOUNS[word]
            if label == "balloon" and before == "air":
                label = "hot air balloon"
            found["kind"].add(label)
            found["count"].add(f"{number if plural else 'one'} {label}")
            if colour:
                found["colour"].add(f"{colour} {label}")
            number, colour = "many", None
        if word in VERBS and not (word in ("wave", "waves") and before == "a") and not (word == "sailing" and after.startswith("boat")) \
                and not (word in NOUNS and before not in NOUNS and before not in GARMENTS and before not in COLOUR_WORDS):
            found["action"].add(VERBS[word])
        if word in PLACES and word != "grass" or word == "grass" and before not in ("eating", "eats", "eat"):
            found["place"].add(PLACES[word])
        if word in TIME_WORDS:
            found["time"].add(TIME_WORDS[word])
    return {category: sorted(labels) for category, labels in found.items()}


def true_of(facts: dict) -> dict[str, list]:
    """Every label that is true of a scene, in `mentioned`'s categories, and "core": groups of (category, labels) that a
    full caption would name one of each."""
    true: dict[str, set[str]] = {category: set() for category in CATEGORIES}
    core: list[tuple[str, list[str]]] = []
    totals: dict[str, int] = {}
    things = [*facts["subjects"], *facts["objects"]]
    if facts["relation"]:
        things.append({"kind": facts["relation"]["to"], "count": 1, "colour": "white" if facts["relation"]["to"] == "fence" else None})
    if facts["subjects"][0]["action"] == "surf":
        true["action"].add("ride")
    for number, thing in enumerate(things):
        labels = words.KIND_LABELS.get(thing["kind"], (thing["kind"],))
        count = max(thing["count"], facts["subjects"][0]["count"]) if thing["kind"] == "umbrella" else thing["count"]
        main = number < len(facts["subjects"])
        true["kind"].update(labels)
        core.append(("kind", list(labels)))
        for label in labels:
            totals[label] = totals.get(label, 0) + count
            if count == 1:
                true["count"].add(f"one {label}")
        if main and count > 1:
            core.append(("count", [f"{_number(count)} {label}" for label in labels]))
        if thing.get("colour"):
            owners = ("clothes",) if "wear" in thing else labels
            true["colour"].update(f"{thing['colour']} {owner}" for owner in owners)
            core.append(("colour", [f"{thing['colour']} {owner}" for owner in owners]))
        if main:
            actions = words.ACTION_TRUE[thing["action"]]
            true["action"].update(actions)
            if number == 0:
                core.append(("action", list(actions)))
    for label, count in totals.items():
        if count > 1:
            true["count"] |= {f"{_number(count)} {label}", f"many {label}"}
    if facts["subjects"][0]["action"] == "jump" and facts["objects"]:
        true["action"] |= {"catch", "play"}
    if any(thing["kind"] == "kite" for thing in facts["objects"]):
        true["action"].add("play")
    places = words.PLACE_LABELS[facts["place"]]
    true["place"].update(places)
    core.append(("place", list(places)))
    true["time"].add(facts["time"])
    return {**{category: sorted(labels) for category, labels in true.items()}, "core": core}


def _number(count: int) -> str:
    return {1: "one", 2: "two", 3: "three"}.get(count, "many")
