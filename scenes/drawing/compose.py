"""From facts to a picture: the place, who stands where and how large, and what they do."""

from __future__ import annotations

from PIL import Image

from scenes.drawing import acts, objects
from scenes.drawing.light import CLEAR, tone
from scenes.drawing.pen import SUPERSAMPLE, Pen
from scenes.drawing.places import GROUND, draw_place
from scenes.facts import PEOPLE

ADULT, CHILD = 0.65, 0.64
SIZES = {  # of one alone: an adult's height for people, else the body's length, as a share of the picture
    "man": ADULT, "woman": ADULT, "boy": CHILD, "girl": CHILD, "dog": 0.50, "cat": 0.52, "horse": 0.42,
    "bird": 0.50, "duck": 0.44, "car": 0.70, "bus": 0.80, "truck": 0.76, "sailboat": 0.52, "balloon": 0.38,
}  # fmt: skip
WIDTHS = {  # in those units, of the kind with its action, or of either
    "run": 0.74, "walk": 0.58, "jump": 0.62, "wave": 0.50, "sit": 0.44, "hold": 0.76, "ski": 0.76,
    "swim": 0.95, "lead": 0.56, "dog run": 1.36, "dog sit": 0.95, "dog swim": 1.15, "dog walk": 1.25,
    "cat walk": 1.15, "cat sit": 0.8, "horse run": 1.95, "horse graze": 1.75, "bird": 1.25, "duck": 1.2,
    "car": 1.06, "sailboat": 1.08, "balloon": 1.1,
}  # fmt: skip
# How far the middle of the body lies before its origin.
AHEAD = {"dog": 0.07, "horse": 0.10, "hold": 0.12, "ski": 0.06}
DEPTH = {1: (0.0,), 2: (-0.025, 0.02), 3: (-0.035, 0.035, -0.02)}  # how much nearer each stands
MIXED = ("red", "blue", "yellow", "green", "pink", "orange")
COATS = ("brown", "black", "white")


def paint(facts: dict, rng, size: int) -> Image.Image:
    """The picture of `facts`, RGB, `size` pixels square; `rng` chooses what the facts leave open."""
    image = Image.new("RGB", (size * SUPERSAMPLE, size * SUPERSAMPLE))
    page = Pen(image)
    draw_place(page, facts["place"], facts["time"], rng)
    Stage(page, facts, rng).play()
    _weather(page, facts, rng)
    return image.reduce(SUPERSAMPLE)


def _weather(page: Pen, facts: dict, rng) -> None:
    """Rain, or a little snow, in front of everything."""
    if facts["time"] == "rain":
        for _ in range(90):
            x, y = float(rng.uniform(-0.05, 1.0)), float(rng.uniform(-0.05, 1.0))
            drop = [(x, y), (x + 0.004, y), (x + 0.022, y + 0.06), (x + 0.019, y + 0.06)]
            page.polygon(drop, (226, 236, 246, 130))
    elif facts["place"] == "snow":
        for _ in range(40):
            page.ellipse(float(rng.random()), float(rng.random()), 0.005, colour=(255, 255, 255, 220))


class Stage:
    """One scene's page and what all its actors share."""

    def __init__(self, page: Pen, facts: dict, rng):
        self.page, self.facts, self.rng = page, facts, rng
        self.place, self.time = facts["place"], facts["time"]
        self.ground = GROUND[self.place]
        self.flip = bool(rng.random() < 0.5)  # the way everybody faces
        self.thing = facts["objects"][0] if facts["objects"] else None
        self.spots: list[tuple[float, float, float]] = []  # (x, y, scale) of each actor
        self.sloped = False  # whether the ski slope is drawn yet
        self.cast = [subject for subject in facts["subjects"] for _ in range(subject["count"])]

    def play(self) -> None:
        """Draw everything, the far before the near."""
        relation = self.facts["relation"]
        centre, room = self._scenery(relation) if relation else (0.5, 0.98)
        if self.thing and self.thing["kind"] == "bench":
            return self._on_bench()
        self.spots = spots = self._spots(centre, room)
        mixed = [str(colour) for colour in self.rng.permutation(MIXED)]
        coats = [str(colour) for colour in self.rng.permutation(COATS)]
        for index in sorted(range(len(spots)), key=lambda k: spots[k][1]):
            subject, (x, y, scale) = self.cast[index], spots[index]
            options = coats if subject["kind"] in ("dog", "cat", "horse", "duck", "bird") else mixed
            colour = subject["colour"] or options[index]
            act = acts.person if subject["kind"] in PEOPLE else acts.creature
            act(self, subject, colour, x, y, scale, index)
        if relation and relation["kind"] == "behind":
            self._fence()

    def _spots(self, centre: float, room: float) -> list[tuple[float, float, float]]:
        """(x, y, scale) of each actor: side by side, shrunk together until they fit."""
        sizes = [SIZES[subject["kind"]] for subject in self.cast]
        if len(self.facts["subjects"]) == 2 and self.cast[1]["kind"] == "dog":
            sizes[1] *= 0.8
        widths = []
        for subject, size in zip(self.cast, sizes, strict=True):
            kind, action = subject["kind"], subject["action"]
            width = WIDTHS.get(f"{kind} {action}") or WIDTHS.get(kind) or WIDTHS.get(action, 0.7)
            widths.append(width * size)
        number = len(widths)
        herd = self.cast[0]["kind"] in ("dog", "cat", "horse") and len(self.facts["subjects"]) == 1
        # Those at different depths may overlap.
        overlap = {1: 1.0, 2: 1.12 if herd else 1.0, 3: 1.36 if herd else 1.08}[number]
        shrink = min(1.0 if not self.facts["relation"] else 0.9, room * overlap / sum(widths))
        spare = room - sum(widths) * shrink
        gap, edge = (
            (spare / (number + 1), spare / (number + 1)) if spare >= 0 else (spare / (number - 1), 0.0)
        )
        x, spots = centre - room / 2 + edge, []
        for width, size, depth in zip(widths, sizes, DEPTH[number], strict=True):
            depth *= 1.8 if herd else 1.0
            middle = x + width * shrink / 2
            x += gap + width * shrink
            spots.append((middle, self.ground + depth, size * shrink))
        if number == 1:
            spots = [(spots[0][0] + float(self.rng.uniform(-0.05, 0.05)), *spots[0][1:])]
        elif self.flip:
            spots = [(2 * centre - x, y, scale) for x, y, scale in spots]
        sign = 1 if self.flip else -1
        return [
            (x + sign * AHEAD.get(subject["kind"], AHEAD.get(subject["action"], 0.0)) * scale, y, scale)
            for subject, (x, y, scale) in zip(self.cast, spots, strict=True)
        ]

    def _on_bench(self) -> None:
        number = len(self.cast)
        scale = {1: 0.64, 2: 0.60, 3: 0.52}[number]
        width = {1: 0.86, 2: 1.2, 3: 1.66}[number]
        x = 0.5 + float(self.rng.uniform(-0.05, 0.05)) * (number == 1)
        self.shadow(x, self.ground + 0.012, width * scale * 0.5)
        pen = self.page.figure(x, self.ground, scale)
        objects.draw_bench(pen, width)
        pen.finish()
        mixed = [str(colour) for colour in self.rng.permutation(MIXED)]
        step = width * scale / number * 0.94
        facing = len(self.facts["subjects"]) == 2
        for index, subject in enumerate(self.cast):
            spot = x + (index - (number - 1) / 2) * step
            flip = index == 1 if facing else self.flip
            spot += (-0.02 if flip else 0.02) * -1
            acts.sitter(self, subject, subject["colour"] or mixed[index], spot, scale, flip)

    def shadow(self, x: float, y: float, width: float) -> None:
        """A soft shadow on the ground; none on water."""
        if self.place in ("lake", "sea"):
            return
        for k, alpha in ((1.0, 34), (0.8, 40)):
            self.page.ellipse(x, y, width * k, width * k * 0.16, (30, 24, 60, alpha))

    def _scenery(self, relation: dict) -> tuple[float, float]:
        """Draw what the subject is by; returns the middle and the width of the room that is left."""
        to, kind = relation["to"], relation["kind"]
        if kind == "behind":
            return 0.5, 0.98
        x, y = {"left": 0.77, "right": 0.23, "under": 0.5}[kind], self.ground - 0.045
        self.page.tone = tone(self.time, 0.8)
        pen = self.page.figure(x, y, {"bench": 0.56, "palm": 0.74, "cactus": 0.52}.get(to, 0.76))
        self.shadow(x, y, 0.2)
        if to == "bench":
            objects.draw_bench(pen)
        elif to == "palm":
            objects.draw_palm(pen)
        elif to == "cactus":
            objects.draw_cactus(pen)
        elif self.place == "snow":
            objects.draw_pine(pen, (52, 104, 92), True)
        else:
            pen = self.page.figure(x, y - 0.02, 0.9) if kind == "under" else pen
            objects.draw_tree(pen, (78, 150, 76))
        pen.finish()
        self.page.tone = tone(self.time, CLEAR)
        return {"left": (0.31, 0.60), "right": (0.69, 0.60), "under": (0.5, 0.7)}[kind]

    def _fence(self) -> None:
        """A white fence across the foreground."""
        pen = self.page.figure(0.0, 0.965, 1.0)
        for height in (0.05, 0.12):
            pen.rectangle(-0.05, height, 1.1, 0.028, (250, 246, 236))
        for k in range(8):
            x = k * 0.14 - 0.01
            pen.polygon(
                [(x, 0.0), (x, 0.16), (x + 0.02, 0.19), (x + 0.04, 0.16), (x + 0.04, 0.0)], (255, 252, 244)
            )
        pen.finish()
