"""Five captions a scene, as five people would write them: with different words, order and details."""

from __future__ import annotations

import re

from scenes import words
from scenes.english import article, ing, third
from scenes.facts import PEOPLE

CAPTIONS = 5
OVER = ("fly", "float")
ON = ("sail", "row")
DOWN = ("ski", "sled")
SINGULAR = {"its", "{p}", "and", "a", "an", "alone", "one", "{p}self"}
FADING = {"yellow", "green", "blue", "red", "colorful"}
SIZES = ("big", "little")


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
        self.terse = self.chance(0.2)  # leaves most details out
        self.tell_place = self.chance(0.45 if self.terse else 0.78)
        self.tell_colour = self.chance(0.2 if self.terse else 0.58)
        if not (self.tell_place or self.tell_colour) and self.chance(0.7):
            self.tell_place = True
        self.tell_time = self.chance({"day": 0.07, "sunset": 0.35, "night": 0.42, "rain": 0.5}[facts["time"]])
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
        style = self.choose({"progressive": 4, "present": 3, "label": 2.6, "there": 0.5})
        place, time = self.where()
        if style == "present":
            verb = verb if plural else third(verb)
        elif style == "progressive":
            verb = ("are " if plural else "is ") + ing(verb)
        else:
            verb = ing(verb)
        if style == "there":
            subject = ("there are " if plural else "there is ") + subject
        extra = self.extra(plural)
        bound = " " not in extra or extra.endswith(("hand", "foot"))  # that stays with the verb
        early = extra and not extra.startswith("and ") and (bound or self.chance(0.3))
        around = [extra, *place] if early else [*place, extra]
        parts = [subject, verb, *around, time]
        front = time or (place[-1] if place else "")
        if front and style in ("progressive", "present") and self.chance(0.06):
            parts = [f"{front},", *[part for part in parts if part != front]]
        sentence = " ".join(part for part in parts if part)
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
        """Two subjects of different kinds: by a common name, or one and the other."""
        kinds = {first["kind"], second["kind"]}
        group = {
            frozenset(("man", "woman")): ("couple", "two people"),
            frozenset(("boy", "girl")): ("children", "two children"),
        }.get(frozenset(kinds))
        if group and not self.tell_colour:
            if self.chance(0.3):
                return group[1]
            return article(self.choose(words.NOUNS[group[0]]))
        both = [self.noun_phrase(first), self.noun_phrase(second)]
        return " and ".join(both if self.chance(0.75) else both[::-1])

    def noun_phrase(self, subject: dict) -> str:
        """Number, kind and colour of a subject: "two black dogs", "a boy in a red shirt"."""
        kind, count, colour = subject["kind"], subject["count"], subject.get("colour")
        singular, plural = self.choose(words.NOUNS[kind]).split("/")
        noun = singular if count == 1 else plural
        told = colour is not None and self.tell_colour
        if kind not in PEOPLE:
            noun = coloured(self.choose(words.COLOURS.get(colour, {colour: 1})), noun) if told else noun
            if kind in words.TRAITS and count == 1 and self.chance(0.02 if self.terse else 0.1):
                noun = f"{noun} {self.choose(words.TRAITS[kind])}"
            return self.counted(noun, count)
        noun = self.with_hair(noun, subject)
        if not told:
            return self.counted(noun, count)
        one, many = self.choose(words.CLOTHES[subject["wear"]]).split("/")
        garment = article(f"{colour} {one}") if count == 1 else f"{colour} {many}"
        manner = self.choose(words.MANNERS)
        if "wearing" in manner and count > 1:
            manner = "wearing {g}"
        if " with " in noun or " in " in noun or " wearing " in noun:
            manner = "in {g}" if "wearing" in noun else "wearing {g}"
        return f"{self.counted(noun, count)} {manner.format(g=garment, c=colour)}"

    def with_hair(self, noun: str, subject: dict) -> str:
        """Sometimes adds the hair, the beard or the cap."""
        kinds = [k for k in (subject.get("trait"), subject.get("hair")) if k in words.HAIR]
        if not kinds or not self.chance(0.16):
            return noun
        manner = self.choose(words.HAIR[kinds[0]])
        if " " in noun and not manner.startswith("{n}"):
            noun = noun.split()[-1]
        return manner.format(n=noun)

    def counted(self, noun: str, count: int) -> str:
        if count == 1:
            return article(noun)
        return f"{self.choose(words.COUNTS[str(count)])} {noun}"

    # Does what, where

    def verb(self) -> str:
        """The verb phrase in its base form, with its object: "ride a red bike"."""
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
        if thing["colour"] and self.tell_colour and self.chance(0.75):
            noun = coloured(thing["colour"], noun)
        if thing["kind"] == "umbrella" and thing["count"] > 1:
            return noun
        if thing["count"] > 1:
            return f"{self.choose({'two': 1} if thing['count'] == 2 else {'three': 5, 'some': 1})} {noun}"
        return article(noun)

    def extra(self, plural: bool) -> str:
        """A small detail that only some people would add, or nothing."""
        if not self.chance(0.08 if self.terse else 0.3):
            return ""
        first = self.facts["subjects"][0]
        kind = "people" if first["kind"] in PEOPLE else first["kind"]
        if len(self.facts["subjects"]) == 2 or (plural and self.chance(0.5)):
            return self.choose(words.EXTRAS["pair"]) if first["action"] != "lead" else ""
        options = words.EXTRAS.get(f"{kind} {first['action']}", {})
        if plural:  # what is said of one only
            options = {k: w for k, w in options.items() if not SINGULAR & set(k.split())}
        possessive = "his" if first["kind"] in ("man", "boy") else "her"
        return self.choose(options).format(p=possessive).replace("hisself", "himself") if options else ""

    def where(self) -> tuple[list[str], str]:
        """What it is next to, the place and the time: each only if this person mentions it."""
        facts, parts = self.facts, []
        action, relation = facts["subjects"][0]["action"], facts["relation"]
        if relation and self.tell_relation:
            noun = self.choose(words.NOUNS[relation["to"]]).split("/")[0]
            parts.append(self.choose(words.RELATIONS[relation["kind"]]).format(article(noun)))
        if self.tell_place:
            ways = ["over"] if action in OVER and not facts["objects"] else ["on"] if action in ON else []
            ways += ["down"] if action in DOWN else []
            ways += ["along"] if action in words.MOTION else []
            names = [f"{facts['place']} {way}" for way in ways] + [facts["place"]]
            options = next(words.PLACES[name] for name in names if name in words.PLACES)
            if facts["time"] == "night":  # when one sees less of colours
                options = {k: w for k, w in options.items() if not FADING & set(k.split())}
            parts.append(self.choose(options))
        return parts, self.choose(words.TIMES[facts["time"]]) if self.tell_time else ""


def coloured(colour: str, noun: str) -> str:
    """The colour before the noun, after a size: "big truck" -> "big red truck"."""
    first, _, rest = noun.partition(" ")
    return f"{first} {colour} {rest}" if first in SIZES else f"{colour} {noun}"
