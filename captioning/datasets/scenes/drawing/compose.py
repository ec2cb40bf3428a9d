"""From facts to a picture: where each subject stands, how large, in what posture, with what in hand."""

from __future__ import annotations

from PIL import Image

from captioning.datasets.scenes.drawing import animals, objects, vehicles
from captioning.datasets.scenes.drawing.palette import PAINT
from captioning.datasets.scenes.drawing.pen import SUPERSAMPLE, Pen
from captioning.datasets.scenes.drawing.people import POSES, draw_person, look
from captioning.datasets.scenes.drawing.places import GROUND, draw_place, tinted

PEOPLE = ("man", "woman", "boy", "girl")
SIZE = {"man": 0.58, "woman": 0.58, "boy": 0.66, "girl": 0.66, "dog": 0.46, "cat": 0.46, "horse": 0.40, "bird": 0.34, "duck": 0.34,
        "car": 0.66, "bus": 0.78, "truck": 0.74, "sailboat": 0.46, "balloon": 0.36}
POSTURE = {"run": "run", "walk": "walk", "jump": "jump", "wave": "wave", "sit": "sit", "kick": "kick", "hold": "hold", "fly": "reach",
           "ski": "ski", "sled": "ground", "surf": "surf", "row": "row", "lead": "lead"}


def paint(facts: dict, rng, size: int) -> Image.Image:
    """The picture of `facts`, `size` pixels square; `rng` chooses what the facts leave open."""
    image = Image.new("RGB", (size * SUPERSAMPLE, size * SUPERSAMPLE))
    page = Pen(image)
    draw_place(page, facts["place"], facts["time"], rng)
    Stage(page, facts, rng).play()
    if facts["time"] == "rain":
        for _ in range(90):
            x, y = float(rng.uniform(-0.05, 1.0)), float(rng.uniform(-0.05, 1.0))
            page.polygon([(x, y), (x + 0.004, y), (x + 0.022, y + 0.06), (x + 0.019, y + 0.06)], (226, 236, 246, 120))
    elif facts["place"] == "snow":
        for _ in range(45):
            page.ellipse(float(rng.random()), float(rng.random()), 0.005, colour=(255, 255, 255, 220))
    return image.reduce(SUPERSAMPLE)


class Stage:
    """Places the actors of one scene on its page."""

    def __init__(self, page: Pen, facts: dict, rng):
        self.page, self.facts, self.rng = page, facts, rng
        self.place, self.ground = facts["place"], GROUND[facts["place"]]
        self.flip = bool(rng.random() < 0.5)  # the way everybody faces
        self.thing = facts["objects"][0] if facts["objects"] else None

    def play(self) -> None:
        """Draw everything, the far before the near."""
        cast = [(s, k) for s in self.facts["subjects"] for k in range(s["count"])]
        number = len(cast)
        relation = self.facts["relation"]
        shift = self._scenery(relation) if relation else 0.0
        spots = {1: [0.5], 2: [0.28, 0.72], 3: [0.19, 0.5, 0.81]}[number]
        shrink = {1: 1.0, 2: 0.86, 3: 0.72}[number]
        if self.thing and self.thing["kind"] == "bench":
            self._bench(0.5 + shift, shrink, number)
            spots = {1: [0.5], 2: [0.36, 0.64], 3: [0.24, 0.5, 0.76]}[number]
        if relation:
            shrink *= 0.84
            spots = [0.5 + (x - 0.5) * 0.72 for x in spots]
        mixed = [str(c) for c in self.rng.permutation([c for c in PAINT if c not in ("purple", "black", "white")])]
        coats = [str(c) for c in self.rng.permutation(["brown", "black", "white"])]
        order = list(range(number))
        if len(self.facts["subjects"]) == 2 and self.flip:
            spots = spots[::-1]
        for index in order:
            subject, _ = cast[index]
            x = spots[index] + shift + float(self.rng.uniform(-0.03, 0.03)) * (number == 1)
            y = self.ground + (float(self.rng.uniform(-0.03, 0.03)) if number > 1 and not self._seated() else 0.0)
            if subject["kind"] in PEOPLE:
                colour = subject["colour"] or mixed[index]
                self.person(subject, colour, x, y, SIZE[subject["kind"]] * shrink, index)
            else:
                options = coats if subject["kind"] in ("dog", "cat", "horse", "duck", "bird") else mixed
                self.creature(subject, subject["colour"] or options[index], x, y, SIZE[subject["kind"]] * shrink, index)
        if relation and relation["kind"] == "behind":
            for k in range(9):
                self.page.rectangle(k * 0.125 + 0.03, 0.70, 0.026, 0.24, (250, 246, 236))
            for y in (0.74, 0.84):
                self.page.rectangle(0.0, y, 1.0, 0.026, (250, 246, 236))

    def _seated(self) -> bool:
        return bool(self.thing and self.thing["kind"] == "bench")

    def shadow(self, x: float, y: float, width: float) -> None:
        if self.place in ("lake", "sea"):
            return
        for k, alpha in ((1.0, 34), (0.8, 40)):
            self.page.ellipse(x, y, width * k, width * k * 0.16, (30, 24, 60, alpha))

    def _scenery(self, relation: dict) -> float:
        """Draw what the subject is by; returns how far the subject moves from the middle."""
        to, kind = relation["to"], relation["kind"]
        if kind == "behind":
            return 0.0
        side = {"left": 0.74, "right": 0.26, "under": 0.5}[kind]
        time = self.facts["time"]
        y = self.ground - 0.05
        pen = self.page.figure(side, y, {"bench": 0.44, "palm": 0.72, "cactus": 0.5}.get(to, 0.74))
        self.shadow(side, y, 0.2)
        if to == "bench":
            objects.draw_bench(pen)
        elif to == "palm":
            objects.draw_palm(pen)
        elif to == "cactus":
            objects.draw_cactus(pen)
        elif self.place == "snow":
            objects.draw_pine(pen, tinted((52, 104, 92), time), True)
        else:
            if kind == "under":
                pen = self.page.figure(side, y - 0.02, 0.86)
            objects.draw_tree(pen, tinted((78, 150, 76), time))
        pen.finish()
        return {"left": -0.2, "right": 0.2, "under": 0.0}[kind]

    def _bench(self, x: float, shrink: float, number: int) -> None:
        width = 0.42 if number == 1 else 0.72 if number == 2 else 0.9
        self.shadow(x, self.ground + 0.01, width * 0.5)
        pen = self.page.figure(x, self.ground, width)
        objects.draw_bench(pen)
        pen.finish()

    # People

    def person(self, subject: dict, colour: str, x: float, y: float, scale: float, index: int) -> None:
        """One person doing what they do."""
        who = look(subject["kind"], subject["wear"], colour, self.rng)
        action, thing = subject["action"], self.thing
        if action == "swim":
            return self._swimmer(who, x, scale * 1.25)
        if action == "ride":
            return self._rider(who, x, y, scale)
        if action == "surf":
            return self._surfer(who, x, y, scale)
        if action == "row":
            return self._rower(who, x, scale)
        if action in ("sled", "ski"):
            return self._slider(who, x, y, scale, action)
        child = subject["kind"] in ("boy", "girl")
        pose, seat = POSES[POSTURE[action]], None
        lift = pose.lift * scale
        if action == "sit":
            width = {1: 0.42, 2: 0.72, 3: 0.9}[sum(s["count"] for s in self.facts["subjects"])]
            seat = 0.29 * width / scale
        flip = self.flip
        if len(self.facts["subjects"]) == 2 and action == "sit":
            flip = x > 0.5
        self.shadow(x, y, 0.17 * scale * (0.8 if child else 1.0) * (0.8 if lift else 1.0))
        pen = self.page.figure(x, y, scale, flip)
        if action == "kick":
            objects.draw_ball(pen, 0.40, 0.20, 0.105, thing["colour"])
        joints = draw_person(pen, who, pose, seat, self._held(pen, action, thing))
        pen.finish()
        if action == "lead":
            dog_x = x + (-1 if flip else 1) * 0.36
            hand = (x + (-1 if flip else 1) * joints["hand_near"][0] * scale, y - joints["hand_near"][1] * scale)
            self.page.curve([hand, ((hand[0] + dog_x) / 2, hand[1] + 0.06), (dog_x, y - 0.24 * scale / 0.5)], 0.007, (150, 40, 48))

    def _held(self, pen: Pen, action: str, thing: dict | None):
        """What draws the thing in the hand, if there is one."""
        if action == "hold" and thing["kind"] == "umbrella":
            return lambda at: objects.draw_umbrella(pen, at["hand_near"], 0.36, thing["colour"])
        if action == "hold" and thing["kind"] == "balloons":
            mixed = ["red", "yellow", "blue"]
            colours = [thing["colour"]] * thing["count"] if thing["colour"] else mixed[: thing["count"]]
            return lambda at: objects.draw_balloons(pen, at["hand_near"], 0.125, colours)
        if action == "fly":
            return lambda at: objects.draw_kite(pen, at["hand_near"][0] + 0.46, 1.18, 0.26, thing["colour"], at["hand_near"])
        return None

    def _swimmer(self, who, x: float, scale: float) -> None:
        y = self.ground - 0.06
        pen = self.page.figure(x, y, scale, self.flip)
        pose = POSES["wave"] if self.rng.random() < 0.0 else POSES["reach"]
        pen = self.page.figure(x, y + 0.50 * scale * (1.0 if who.kind in ("man", "woman") else 0.62), scale, self.flip)
        draw_person(pen, who, pose)
        pen.finish()
        self.water(x, y, 0.2 * scale / 0.6)

    def water(self, x: float, y: float, width: float) -> None:
        """Cover what is under water, with ripples round it."""
        time = self.facts["time"]
        deep = {"day": (40, 126, 194), "sunset": (150, 102, 146), "night": (26, 38, 96), "rain": (84, 110, 134)}[time]
        wave = [(x - width * 1.5 + width * 3 * k / 16, y + 0.006 * (-1) ** k) for k in range(17)]
        self.page.polygon([*wave, (x + width * 1.2, 1.0), (x - width * 1.2, 1.0)], deep)
        for k in range(3):
            self.page.ellipse(x, y + 0.012 + 0.028 * k, width * (1.35 - 0.2 * k), 0.0055, (236, 248, 252, 200))

    def _rider(self, who, x: float, y: float, scale: float) -> None:
        kind = self.thing["kind"]
        adult = who.kind in ("man", "woman")
        if kind == "bicycle":
            unit = scale * (0.92 if adult else 0.66)
            self.shadow(x, y, unit * 0.5)
            pen = self.page.figure(x, y, unit, self.flip)
            vehicles.draw_bicycle(pen, self.thing["colour"])
            pen.finish()
            pen = self.page.figure(x + (0.10 if self.flip else -0.10) * unit, y, scale, self.flip)
            draw_person(pen, who, POSES["ride"], seat=0.53 * unit / scale)
            pen.finish()
        elif kind == "horse":
            unit = 0.42
            self.shadow(x, y, 0.3)
            run = bool(self.rng.random() < 0.5)
            pen = self.page.figure(x, y, unit, self.flip)
            animals.draw_horse(pen, self.thing["colour"], "run" if run else "walk", reins=True)
            pen.finish()
            rider = scale * (0.8 if adult else 0.78)
            pen = self.page.figure(x + (0.02 if self.flip else -0.02), y, rider, self.flip)
            draw_person(pen, who, POSES["astride"], seat=0.98 * unit / rider)
            pen.finish()
        else:
            self.shadow(x, y, 0.2)
            pen = self.page.figure(x, y - 0.035, scale, self.flip)
            objects.draw_board(pen, (-0.24, 0.01), (0.26, 0.01), 0.04, PAINT["red"], wheels=True)
            draw_person(pen, who, POSES["skate"])
            pen.finish()

    def _surfer(self, who, x: float, y: float, scale: float) -> None:
        angle = 8.0
        pen = self.page.figure(x, y + 0.06, scale, self.flip, -angle if self.flip else angle)
        objects.draw_board(pen, (-0.40, 0.0), (0.42, 0.02), 0.07, PAINT[self.thing["colour"]])
        draw_person(pen, who, POSES["surf"])
        pen.finish()
        for k in range(9):
            side = -1 if not self.flip else 1
            self.page.ellipse(x + side * (0.05 + 0.035 * k), y + 0.085 - 0.006 * k * (k % 2), 0.034, 0.024, (250, 254, 255, 235))

    def _rower(self, who, x: float, scale: float) -> None:
        y = self.ground
        pen = self.page.figure(x, y - 0.03, scale, self.flip)
        adult = who.kind in ("man", "woman")
        at = draw_person(pen, who, POSES["row"], seat=0.10)
        hand = at["hand_near"]
        pen.limb([(hand[0] - 0.10, hand[1] + 0.08), hand, (hand[0] + 0.42, -0.10)], 0.03, (150, 104, 66))
        pen.limb([(hand[0] + 0.36, -0.04), (hand[0] + 0.46, -0.16)], 0.07, (150, 104, 66))
        pen.finish()
        pen = self.page.figure(x + (-0.05 if self.flip else 0.05), y, 0.72 if adult else 0.62, self.flip)
        vehicles.draw_rowboat(pen, self.thing["colour"])
        pen.finish()
        self.page.ellipse(x, y + 0.05, 0.36, 0.012, (236, 248, 252, 150))

    def _slider(self, who, x: float, y: float, scale: float, action: str) -> None:
        self.shadow(x, y, 0.22 * scale / 0.6)
        if action == "ski":
            pen = self.page.figure(x, y - 0.01, scale, self.flip)
            at = None
            objects.draw_board(pen, (-0.26, -0.005), (0.40, 0.0), 0.03, (40, 60, 120))
            at = draw_person(pen, who, POSES["ski"])
            for hand in (at["hand_near"], at["hand_far"]):
                pen.limb([hand, (hand[0] - 0.24, 0.02)], 0.016, (70, 70, 84))
            pen.finish()
            return
        unit = 0.52 if who.kind in ("man", "woman") else 0.44
        pen = self.page.figure(x, y, unit, self.flip)
        objects.draw_sled(pen, self.thing["colour"])
        pen.finish()
        pen = self.page.figure(x + (0.05 if self.flip else -0.05), y, scale, self.flip)
        draw_person(pen, who, POSES["ground"], seat=0.28 * unit / scale)
        pen.finish()

    # Animals and vehicles

    def creature(self, subject: dict, colour: str, x: float, y: float, scale: float, index: int) -> None:
        """One animal or vehicle."""
        kind, action = subject["kind"], subject["action"]
        if self.facts["subjects"][0] is not subject:  # a dog with its owner
            scale *= 0.74
        flip, rng = self.flip, self.rng
        if kind == "bird":
            y = (0.30, 0.44, 0.24)[index] if subject["count"] > 1 else 0.34
            pen = self.page.figure(x, y, scale, flip, float(rng.uniform(0, 14)) * (-1 if flip else 1))
            animals.draw_bird(pen, colour, wings_up=bool((index + int(rng.integers(2))) % 2))
        elif kind == "duck":
            pen = self.page.figure(x, y + (0.02, -0.06, 0.04)[index], scale, flip)
            animals.draw_duck(pen, colour)
            pen.finish()
            self.page.ellipse(x, y + (0.02, -0.06, 0.04)[index], scale * 0.6, 0.011, (236, 248, 252, 190))
        elif kind == "balloon":
            y = (0.56, 0.44, 0.62)[index] if subject["count"] > 1 else 0.62
            pen = self.page.figure(x, y, scale * (1.0 if subject["count"] == 1 else 0.9), False)
            vehicles.draw_balloon_ship(pen, colour)
        elif kind == "sailboat":
            y = y + (0.0, -0.08, 0.03)[index]
            pen = self.page.figure(x, y, scale, flip, float(rng.uniform(-4, 4)))
            vehicles.draw_sailboat(pen, colour)
            pen.finish()
            self.page.ellipse(x, y + 0.012, scale * 0.52, 0.012, (236, 248, 252, 190))
        elif kind in ("car", "bus", "truck"):
            scale *= 0.62 if subject["count"] == 3 else 0.66 if subject["count"] == 2 else 1.0
            self.shadow(x, y + 0.005, scale * 0.54)
            pen = self.page.figure(x, y, scale, flip)
            {"car": vehicles.draw_car, "bus": vehicles.draw_bus, "truck": vehicles.draw_truck}[kind](pen, colour)
        elif action == "swim":
            pen = self.page.figure(x, y - 0.04, scale * 1.15, flip)
            animals.draw_dog(pen, colour, "swim")
            pen.finish()
            self.water(x, y - 0.035, scale * 0.55)
        else:
            self.shadow(x, y, scale * 0.42)
            pen = self.page.figure(x, y, scale, flip)
            {"dog": animals.draw_dog, "cat": animals.draw_cat, "horse": animals.draw_horse}[kind](pen, colour, action)
            if action == "jump" and self.thing:
                objects.draw_ball(pen, 0.92, 1.16, 0.12, self.thing["colour"])
        pen.finish()


