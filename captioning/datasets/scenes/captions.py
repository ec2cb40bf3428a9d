"""Five captions a scene, as five people would write them: other words, another order, more or fewer details."""

from __future__ import annotations

import re

from captioning.datasets.scenes import words
from captioning.datasets.scenes.english import article, ing, third
from captioning.datasets.scenes.facts import PEOPLE

CAPTIONS = 5
OVER = ("fly", "float")
ON = ("sail", "row")


def write_captions(facts: dict, rng) -> list[str]:
    """Five different captions of `facts`; `rng` is a numpy Generator."""
    captions: list[str] = []
    while len(captions) < CAPTIONS:
        caption = Writer(facts, rng).write()
        if caption not in captions:
            captions.append(caption)
    return captions


class Writer:
    """One person who describes one scene."""

    def __init__(self, facts: dict, rng):
        self.facts, self.rng = facts, rng
        self.terse = self.chance(0.16)  # leaves most details out
        self.tell_place = self.chance(0.45 if self.terse else 0.88)
        self.tell_colour = self.chance(0.2 if self.terse else 0.72)
        self.tell_time = self.chance({"day": 0.04, "sunset": 0.4, "night": 0.5, "rain": 0.6}[facts["time"]])
        self.tell_relation = self.chance(0.2 if self.terse else 0.6)

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def choose(self, options: dict[str, float]) -> str:
        """A key of `options`, by weight."""
        total, at = sum(options.values()), float(self.rng.random())
        for word, weight in options.items():
            at -= weight / total
            if at < 0:
                return word
        return word

    def write(self) -> str:
        subject, plural = self.subject()
        verb = self.verb()
        style = self.choose({"progressive": 5, "present": 3, "label": 2.2, "there": 0.4})
        where = self.where()
        if style == "present":
            verb = verb if plural else third(verb)
        elif style == "progressive":
            verb = ("are " if plural else "is ") + ing(verb)
        else:
            verb = ing(verb)
        if style == "there":
            subject = ("there are " if plural else "there is ") + subject
        sentence = " ".join(part for part in (subject, verb, *where) if part)
        return sentence[0].upper() + sentence[1:] + "."

    # Who

    def subject(self) -> tuple[str, bool]:
        """The subject and whether its verb is plural."""
        subjects = self.facts["subjects"]
        first = subjects[0]
        if len(subjects) == 2 and first["action"] != "lead":
            return self.pair(*subjects), True
        return self.noun_phrase(first), first["count"] > 1

    def pair(self, first: dict, second: dict) -> str:
        kinds = {first["kind"], second["kind"]}
        group = {frozenset(("man", "woman")): ("couple", "two people"), frozenset(("boy", "girl")): ("children", "two children")}.get(frozenset(kinds))
        if group and not self.tell_colour:
            if self.chance(0.3):
                return group[1]
            return article(self.choose({k: v for k, v in words.NOUNS[group[0]].items() if k != "couple"}))
        both = [self.noun_phrase(first), self.noun_phrase(second)]
        return " and ".join(both if self.chance(0.75) else both[::-1])

    def noun_phrase(self, subject: dict) -> str:
        kind, count, colour = subject["kind"], subject["count"], subject.get("colour")
        singular, plural = self.choose(words.NOUNS[kind]).split("/")
        noun = singular if count == 1 else plural
        if not (colour and self.tell_colour):
            return self.counted(noun, count)
        colour = self.choose(words.COLOURS[colour])
        if kind not in PEOPLE:
            return self.counted(f"{colour} {noun}", count)
        one, many = self.choose(words.CLOTHES[subject["wear"]]).split("/")
        garment = article(f"{colour} {one}") if count == 1 else f"{colour} {many}"
        manner = self.choose({"in {g}": 6, "wearing {g}": 2.4, "in {c}": 1.1, "dressed in {c}": 0.3})
        return f"{self.counted(noun, count)} {manner.format(g=garment, c=colour)}"

    def counted(self, noun: str, count: int) -> str:
        if count == 1:
            return article(noun)
        return f"{self.choose(words.COUNTS[count])} {noun}"

    # Does what, where

    def verb(self) -> str:
        first = self.facts["subjects"][0]
        thing = self.facts["objects"][0] if self.facts["objects"] else None
        kind = "people" if first["kind"] in PEOPLE else first["kind"]
        action = first["action"]
        names = ([f"{action} {thing['kind']}"] if thing else []) + [f"{action} {kind}", action]
        verb = self.choose(next(words.VERBS[name] for name in names if name in words.VERBS))
        if action == "lead":
            dog = self.noun_phrase(self.facts["subjects"][1])
            if self.chance(0.3) and "with" not in verb:
                owner = {"man": "his", "boy": "his"}.get(first["kind"], "her")
                dog = re.sub(r"^an? ", f"{owner} ", dog) if first["count"] == 1 else dog
            if self.chance(0.15):
                dog += " on a leash"
            return verb.format(dog)
        return verb.format(self.object_phrase(thing)) if thing else verb

    def object_phrase(self, thing: dict) -> str:
        noun = self.choose(words.NOUNS[thing["kind"]])
        singular, _, plural = noun.partition("/")
        noun = plural if thing["count"] > 1 else singular
        people = self.facts["subjects"][0]["count"]
        if thing["kind"] == "umbrella" and people > 1:
            noun = plural
        if thing["colour"] and self.tell_colour and self.chance(0.75):
            noun = f"{thing['colour']} {noun}"
        if thing["count"] > 1:
            return f"{self.choose({'two': 1} if thing['count'] == 2 else {'three': 5, 'some': 1})} {noun}"
        if thing["kind"] == "umbrella" and people > 1:
            return noun
        return article(noun)

    def where(self) -> list[str]:
        facts, parts = self.facts, []
        action = facts["subjects"][0]["action"]
        if facts["relation"] and self.tell_relation:
            relation = facts["relation"]
            parts.append(self.choose(words.RELATIONS[relation["kind"]]).format(article(self.choose(words.NOUNS[relation["to"]]))))
        if self.tell_place:
            way = "over" if action in OVER and not facts["objects"] else "on" if action in ON else "along" if action in words.MOTION else ""
            parts.append(self.choose(words.PLACES.get(f"{facts['place']} {way}".strip(), words.PLACES[facts["place"]])))
        if self.tell_time:
            parts.append(self.choose(words.TIMES[facts["time"]]))
        return parts
