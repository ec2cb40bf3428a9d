"""The facts of a scene and how they are chosen: who, how many, in what colour, doing what, where, with what.

`sample(rng)` returns a scene's facts, made of strings, numbers, lists and dicts only:

    {"place": "beach", "time": "day",
     "subjects": [{"kind": "man", "count": 1, "action": "run", "wear": "shirt", "colour": "red"}],
     "objects": [{"kind": "ball", "count": 1, "colour": "yellow"}],
     "relation": {"kind": "left", "to": "tree"} or None}

A second subject accompanies the first. A colour of None means mixed or not visible. `PLOTS` lists what
happens in the scenes; each plot names only the places and companions that suit it.
"""

from __future__ import annotations

from dataclasses import dataclass

ADULTS, CHILDREN = ("man", "woman"), ("boy", "girl")
PEOPLE = ADULTS + CHILDREN
CLOTHES = ("red", "blue", "yellow", "green", "white", "black", "pink", "orange")
PAINTS = ("red", "blue", "yellow", "green", "white", "black", "orange")
COATS = {
    "dog": ("brown", "black", "white"),
    "cat": ("orange", "black", "white", "gray"),
    "horse": ("brown", "black", "white"),
    "bird": ("white", "black", "blue", "red"),
    "duck": ("white", "brown"),
    "car": PAINTS[:6],
    "bus": ("red", "yellow", "blue", "green"),
    "truck": ("red", "yellow", "blue", "white"),
    "sailboat": ("red", "white", "yellow", "blue"),
    "balloon": ("red", "yellow", "blue", "green", "orange"),
}
TIMES = ("day", "sunset", "night", "rain")
ALONE, FEW, MANY = (1.0, 0.0, 0.0), (0.68, 0.20, 0.12), (0.40, 0.33, 0.27)  # chances of one, two, three
POOR = {
    ("white", "snow"),
    ("white", "sea"),
    ("green", "park"),
    ("green", "forest"),
    ("yellow", "farm"),
    ("yellow", "desert"),
    ("orange", "desert"),
    ("blue", "sea"),
    ("brown", "forest"),
    ("black", "forest"),
    ("orange", "farm"),
    ("yellow", "beach"),
    ("blue", "lake"),
    ("gray", "street"),
}  # colours that would be lost in a place


@dataclass(frozen=True)
class Plot:
    """One thing that happens in scenes."""

    weight: float
    kinds: tuple[str, ...]
    action: str
    places: tuple[str, ...]
    counts: tuple[float, float, float] = ALONE
    object: str | None = None
    companion: tuple[str, ...] = ()
    near: float = 0.0  # chance of a relation to something that stands in the place
    times: tuple[float, ...] = (0.72, 0.18, 0.10, 0.0)


RAINY = (0.3, 0.0, 0.0, 0.7)
PLOTS = (
    # people
    Plot(6, PEOPLE, "run", ("beach", "street", "park", "forest"), FEW),
    Plot(6, PEOPLE, "walk", ("beach", "street", "park", "forest", "desert", "snow"), FEW),
    Plot(6, PEOPLE, "jump", ("beach", "park", "snow", "farm"), FEW),
    Plot(4, PEOPLE, "wave", ("beach", "street", "park", "farm", "desert", "snow"), FEW, near=0.4),
    Plot(6, PEOPLE, "sit", ("park", "street", "beach"), FEW, object="bench"),
    Plot(6, PEOPLE, "kick", ("park", "beach", "street", "farm"), ALONE, object="ball"),
    Plot(6, PEOPLE, "hold", ("street", "park", "beach"), FEW, object="umbrella", times=RAINY),
    Plot(4, PEOPLE, "hold", ("park", "street", "farm"), ALONE, object="balloons"),
    Plot(5, PEOPLE, "fly", ("beach", "park", "farm"), ALONE, object="kite", times=(0.8, 0.2, 0.0, 0.0)),
    Plot(7, PEOPLE, "ride", ("street", "park", "forest", "beach"), ALONE, object="bicycle"),
    Plot(6, PEOPLE, "ride", ("beach", "farm", "desert", "forest"), ALONE, object="horse"),
    Plot(4, PEOPLE, "ride", ("street",), ALONE, object="skateboard"),
    Plot(5, PEOPLE, "ski", ("snow",), FEW),
    Plot(4, PEOPLE, "sled", ("snow",), ALONE, object="sled"),
    Plot(5, ADULTS, "surf", ("sea",), ALONE, object="surfboard"),
    Plot(5, PEOPLE, "swim", ("lake", "sea"), FEW),
    Plot(4, PEOPLE, "row", ("lake",), ALONE, object="boat"),
    # people together, people with dogs
    Plot(4, ("man",), "walk", ("beach", "street", "park", "forest"), companion=("woman",)),
    Plot(3, ("man",), "sit", ("park", "street", "beach"), companion=("woman",), object="bench"),
    Plot(4, ("boy",), "run", ("beach", "park", "street"), companion=("girl",)),
    Plot(3, ("boy",), "jump", ("beach", "park", "snow"), companion=("girl",)),
    Plot(5, PEOPLE, "lead", ("street", "park", "beach", "forest"), companion=("dog",)),
    Plot(4, PEOPLE, "run", ("beach", "park", "snow"), companion=("dog",)),
    # animals
    Plot(7, ("dog",), "run", ("beach", "park", "snow", "street", "farm"), FEW),
    Plot(5, ("dog",), "jump", ("beach", "park", "snow"), ALONE, object="ball"),
    Plot(5, ("dog",), "sit", ("beach", "park", "snow", "street", "farm"), FEW, near=0.35),
    Plot(4, ("dog",), "sleep", ("beach", "park", "street"), ALONE, near=0.35),
    Plot(4, ("dog",), "swim", ("lake", "sea"), FEW),
    Plot(4, ("cat",), "sit", ("street", "park", "farm"), FEW, near=0.35),
    Plot(4, ("cat",), "sleep", ("street", "park", "farm"), ALONE, near=0.3),
    Plot(4, ("cat",), "walk", ("street", "park", "snow"), FEW),
    Plot(5, ("horse",), "run", ("farm", "beach", "desert", "park"), FEW),
    Plot(4, ("horse",), "graze", ("farm", "park"), FEW, near=0.3),
    Plot(6, ("bird",), "fly", ("lake", "beach", "sea", "snow", "desert"), MANY),
    Plot(4, ("duck",), "swim", ("lake",), MANY),
    # vehicles
    Plot(6, ("car",), "drive", ("street", "desert", "snow"), FEW),
    Plot(4, ("bus",), "drive", ("street",)),
    Plot(4, ("truck",), "drive", ("street", "desert")),
    Plot(6, ("sailboat",), "sail", ("lake", "sea"), FEW),
    Plot(5, ("balloon",), "float", ("snow", "desert", "farm", "lake"), MANY),
)
NEAR = {
    "beach": ("palm",),
    "street": ("bench",),
    "park": ("tree", "bench"),
    "snow": ("tree",),
    "farm": ("tree", "fence"),
    "desert": ("cactus",),
    "forest": ("tree",),
}


def _pick(rng, options, chances=None):
    """A random element of `options`, as the object it is and not as NumPy's."""
    if chances is None:
        return options[int(rng.integers(len(options)))]
    total = sum(chances)
    return options[int(rng.choice(len(options), p=[c / total for c in chances]))]


def sample(rng) -> dict:
    """Choose one scene. `rng` is a numpy Generator; the same state gives the same facts."""
    plot = _pick(rng, PLOTS, [p.weight for p in PLOTS])
    place, time = _pick(rng, plot.places), _pick(rng, TIMES, plot.times)
    if place == "forest" or (place == "lake" and time == "night"):
        time = "day"
    kind = _pick(rng, plot.kinds)
    count = _pick(rng, (1, 2, 3), plot.counts)
    subject = {
        "kind": kind,
        "count": count,
        "action": plot.action,
        **_dress(rng, kind, plot, place, time, count),
    }
    subjects = [subject]
    objects = []
    if plot.object:
        objects.append(_object(rng, plot, place, subject["colour"]))
        if plot.object == "umbrella":
            objects[0]["count"] = count
    if plot.companion:
        other = _pick(rng, plot.companion)
        action = {"lead": "walk"}.get(plot.action, plot.action)
        second = {"kind": other, "count": 1, "action": action, **_dress(rng, other, plot, place, time, 1)}
        while other in PEOPLE and second["colour"] == subject["colour"]:
            second["colour"] = _colour(rng, CLOTHES, place, time)
        subjects.append(second)
    relation = None
    if rng.random() < plot.near and count < 3:
        to = _pick(rng, NEAR[place])
        if to == "fence" and kind in ("cat", "dog"):
            to = "tree"
        kinds = ("left", "right", "under") if to == "tree" and place != "snow" else ("left", "right")
        relation = {"kind": "behind" if to == "fence" else _pick(rng, kinds), "to": to}
    return {"place": place, "time": time, "subjects": subjects, "objects": objects, "relation": relation}


def _colour(rng, options, place: str, time: str) -> str:
    allowed = [c for c in options if (c, place) not in POOR and not (time == "night" and c == "black")]
    return _pick(rng, allowed)


def _dress(rng, kind: str, plot: Plot, place: str, time: str, count: int) -> dict:
    """A subject's clothes and colour: an animal's coat, a vehicle's paint, a person's clothes."""
    if kind not in PEOPLE:
        colour = _colour(rng, COATS[kind], place, time)
        return {"colour": colour if count == 1 or rng.random() < 0.6 else None}
    if plot.action == "swim":
        return {"wear": "swimsuit", "colour": None}
    wear = "shirt"
    if place == "snow":
        wear = "jacket"
    elif (
        kind in ("woman", "girl")
        and plot.action in ("walk", "wave", "jump", "hold", "fly", "lead")
        and rng.random() < 0.55
    ):
        wear = "dress"
    colour = _colour(rng, CLOTHES, place, time)
    dress = {"wear": wear, "colour": colour if count == 1 or rng.random() < 0.5 else None}
    if count == 1 and wear != "jacket":
        dress["hair"] = _pick(rng, ("black", "brown", "blond", "red"), (4, 4, 3, 1.5))
        dress["trait"] = (
            {"man": "beard", "boy": "cap"}.get(kind)
            if rng.random() < (0.45 if kind == "man" else 0.6)
            else None
        )
    return dress


def _object(rng, plot: Plot, place: str, taken: str | None) -> dict:
    """The plot's object, in a colour other than its owner's."""
    kind = plot.object
    if kind == "balloons":
        return {
            "kind": "balloons",
            "count": int(rng.integers(1, 4)),
            "colour": None if rng.random() < 0.4 else _pick(rng, PAINTS[:4]),
        }
    if kind == "horse":
        return {"kind": "horse", "count": 1, "colour": _colour(rng, COATS["horse"], place, "day")}
    if kind in ("bench", "skateboard"):
        return {"kind": kind, "count": 1, "colour": None}
    options = [c for c in PAINTS if c not in (taken, "black")]
    return {"kind": kind, "count": 1, "colour": _colour(rng, options, place, "day")}
