"""What each actor does, drawn: people on foot, on wheels, on horses, on snow and water; animals; vehicles.

`stage` is a `compose.Stage`; (x, y) is where the actor stands on the page and `scale` its size there.
"""

from __future__ import annotations

from scenes.drawing import animals, objects, vehicles
from scenes.drawing.bodies import POSES, look
from scenes.drawing.light import tinted
from scenes.drawing.palette import PAINT
from scenes.drawing.pen import Pen, mix
from scenes.drawing.people import draw_person

POSTURES = {
    "fly": "reach",
    "kick": "kick",
    "hold": "hold",
    "lead": "lead",
    "run": "run",
    "walk": "walk",
    "jump": "jump",
    "wave": "wave",
}
FOAM = (246, 252, 254)


def person(stage, subject: dict, colour: str, x: float, y: float, scale: float, index: int) -> None:
    """One person doing what they do."""
    who, action, thing = look(subject, colour, stage.rng), subject["action"], stage.thing
    special = {"swim": swimmer, "surf": surfer, "row": rower, "sled": slider, "ski": slider}.get(action)
    if action == "ride":
        special = {"bicycle": cyclist, "horse": horse_rider, "skateboard": skater}[thing["kind"]]
    if special:
        return special(stage, who, x, y, scale)
    pose, ahead = POSES[POSTURES[action]], -1 if stage.flip else 1
    if action == "fly":
        x -= ahead * 0.15
    elif action == "kick":
        x -= ahead * 0.08
    stage.shadow(x, y, 0.17 * scale * (0.75 if pose.lift else 1.0))
    pen = stage.page.figure(x, y, scale, stage.flip)
    joints = draw_person(pen, who, pose, between=lambda at: _held(pen, at["hand_near"], action, thing))
    pen.finish()
    hand = (x + ahead * joints["hand_near"][0] * scale, y - joints["hand_near"][1] * scale)
    if action == "kick":
        pen = stage.page.figure(x + ahead * 0.46 * scale, y - 0.20 * scale, 1.0)
        objects.draw_ball(pen, 0.0, 0.0, 0.075, thing["colour"])
        pen.finish()
    elif action == "fly":
        tied = (x + ahead * 0.40, 0.21)
        stage.page.curve(
            [hand, ((hand[0] + tied[0]) / 2, (hand[1] + tied[1]) / 2 + 0.05), tied], 0.005, (255, 255, 255)
        )
        pen = stage.page.figure(*tied, 0.17, stage.flip)
        objects.draw_kite(pen, thing["colour"])
        pen.finish()
    elif action == "lead":
        dog_x, dog_y, dog_scale = stage.spots[1]
        collar = (dog_x + ahead * 0.36 * dog_scale, dog_y - 0.60 * dog_scale)
        stage.page.curve(
            [hand, ((hand[0] + collar[0]) / 2, max(hand[1], collar[1]) + 0.05), collar], 0.008, (170, 44, 52)
        )


def _held(pen: Pen, hand: tuple[float, float], action: str, thing: dict | None) -> None:
    """The umbrella or the balloons in a hand."""
    if action == "hold" and thing["kind"] == "umbrella":
        objects.draw_umbrella(pen, hand, 0.36, thing["colour"])
    elif action == "hold":
        colours = (
            [thing["colour"]] * thing["count"]
            if thing["colour"]
            else ["red", "yellow", "blue"][: thing["count"]]
        )
        objects.draw_balloons(pen, hand, 0.125, colours)


def sitter(stage, subject: dict, colour: str, x: float, scale: float, flip: bool) -> None:
    """One person on a bench; an adult's feet reach the ground."""
    who = look(subject, colour, stage.rng)
    pen = stage.page.figure(x, stage.ground, scale, flip)
    draw_person(pen, who, POSES["sit"], seat=0.29)
    pen.finish()


# On wheels and hooves


def cyclist(stage, who, x: float, y: float, scale: float) -> None:
    adult = who.kind in ("man", "woman")
    unit = scale * (0.94 if adult else 0.70)
    stage.shadow(x, y, unit * 0.5)
    pen = stage.page.figure(x, y, unit, stage.flip)
    vehicles.draw_bicycle(pen, stage.thing["colour"])
    pen.finish()
    pen = stage.page.figure(x + (0.10 if stage.flip else -0.10) * unit, y, scale, stage.flip)
    draw_person(pen, who, POSES["ride"], seat=0.53 * unit / scale)
    pen.finish()


def horse_rider(stage, who, x: float, y: float, scale: float) -> None:
    run = bool(stage.rng.random() < 0.5)
    unit = 0.38 if run else 0.42
    x = 0.5 + (0.03 if stage.flip else -0.03)
    stage.shadow(x, y, 0.3)
    pen = stage.page.figure(x, y, unit, stage.flip)
    animals.draw_horse(pen, stage.thing["colour"], "run" if run else "walk", reins=True)
    pen.finish()
    rider = scale * 0.78
    pen = stage.page.figure(x + (0.02 if stage.flip else -0.02), y, rider, stage.flip)
    draw_person(pen, who, POSES["astride"], seat=(1.02 if run else 0.98) * unit / rider)
    pen.finish()


def skater(stage, who, x: float, y: float, scale: float) -> None:
    stage.shadow(x, y + 0.01, 0.22)
    pen = stage.page.figure(x, y - 0.045, scale, stage.flip)
    objects.draw_board(pen, (-0.34, 0.01), (0.36, 0.01), 0.05, (246, 96, 70), wheels=True)
    draw_person(pen, who, POSES["skate"])
    pen.finish()
    for k in range(3):
        start = x + (0.30 if stage.flip else -0.30)
        reach = 0.12 if stage.flip else -0.12
        stage.page.limb(
            [(start, y - 0.08 - 0.1 * k), (start + reach, y - 0.08 - 0.1 * k)], 0.006, (255, 255, 255, 150)
        )


# On snow and water


def slider(stage, who, x: float, y: float, scale: float) -> None:
    """On skis or on a sled, down a slope."""
    down = -11.0
    low, high = (0.0, 1.0) if stage.flip else (1.0, 0.0)
    snow = tinted((250, 253, 255), stage.time)
    if not stage.sloped:
        stage.sloped = True
        edge = [(high, 0.70), ((high + low) / 2, 0.80), (low, 0.90)]
        stage.page.polygon([*edge, (low, 1.0), (high, 1.0)], snow)
        stage.page.polygon(
            [(high, 0.74), (low, 0.94), (low, 1.0), (high, 1.0)], mix(snow, (150, 180, 220), 0.22)
        )
    y = 0.70 + 0.20 * abs(x - high) + (y - stage.ground) * 0.6 + 0.045
    stage.shadow(x, y + 0.005, 0.2 * scale / 0.6)
    angle = -down if stage.flip else down
    if stage.thing is None:
        pen = stage.page.figure(x, y, scale, stage.flip, angle)
        objects.draw_board(pen, (-0.30, -0.002), (0.42, 0.002), 0.036, (230, 70, 60))
        at = draw_person(pen, who, POSES["ski"])
        for hand in (at["hand_near"], at["hand_far"]):
            pen.limb([hand, (hand[0] - 0.26, 0.03)], 0.018, (70, 70, 84))
        pen.finish()
    else:
        unit = 0.56 if who.kind in ("man", "woman") else 0.48
        pen = stage.page.figure(x, y, unit, stage.flip, angle)
        objects.draw_sled(pen, stage.thing["colour"])
        pen.finish()
        pen = stage.page.figure(x + (0.05 if stage.flip else -0.05), y, scale, stage.flip, angle)
        draw_person(pen, who, POSES["ground"], seat=0.29 * unit / scale)
        pen.finish()
    behind = 0.26 if stage.flip else -0.26
    for k in range(5):
        spray = x + behind * (0.9 + 0.13 * k) * scale / 0.6
        stage.page.ellipse(spray, y - 0.05 - 0.012 * (k % 3), 0.022 - 0.003 * k, 0.016, (255, 255, 255, 235))


def swimmer(stage, who, x: float, y: float, scale: float) -> None:
    """The crawl: head, back and one arm above the water."""
    ahead, line = -1 if stage.flip else 1, y - 0.03
    scale *= 1.3
    pen = stage.page.figure(x - ahead * 0.14 * scale, line, scale, stage.flip)
    draw_person(pen, who, POSES["crawl"], seat=-0.02)
    pen.finish(waterline=line + 0.012)
    for k in range(4):  # the feet splash
        stage.page.ellipse(
            x - ahead * (0.42 + 0.05 * k) * scale, line - 0.02 * (k % 2), 0.028, 0.026, (*FOAM, 235)
        )
    ripples(stage, x, line + 0.012, 0.42 * scale)


def ripples(stage, x: float, y: float, width: float) -> None:
    """White rings where something floats."""
    stage.page.ellipse(x, y, width, 0.009, (*FOAM, 230))
    for k in range(1, 3):
        stage.page.ellipse(x, y + 0.026 * k, width * (1.08 - 0.22 * k), 0.0055, (*FOAM, 150))


def surfer(stage, who, x: float, y: float, scale: float) -> None:
    """On a board, before a breaking wave."""
    ahead = -1 if stage.flip else 1
    deep = {"day": (44, 138, 204), "sunset": (146, 96, 150), "night": (36, 56, 122), "rain": (96, 126, 150)}[
        stage.time
    ]
    back = x - ahead * 0.30

    def at(u: float, v: float) -> tuple[float, float]:
        return back + ahead * u, v

    stage.page.blob(
        [
            at(-0.5, 0.9),
            at(-0.35, 0.62),
            at(-0.12, 0.44),
            at(0.10, 0.40),
            at(0.24, 0.47),
            at(0.10, 0.50),
            at(0.06, 0.60),
            at(0.16, 0.74),
            at(0.5, 0.86),
            at(0.2, 0.95),
        ],
        deep,
    )
    stage.page.blob(
        [at(-0.30, 0.70), at(-0.10, 0.52), at(0.06, 0.48), at(-0.02, 0.62), at(0.06, 0.78)],
        mix(deep, (220, 244, 250), 0.28),
    )
    for u, v, r in (
        (-0.16, 0.46, 0.03),
        (-0.08, 0.425, 0.036),
        (0.02, 0.405, 0.042),
        (0.12, 0.415, 0.042),
        (0.20, 0.45, 0.036),
        (0.24, 0.49, 0.026),
    ):
        stage.page.ellipse(*at(u, v), r, r * 0.8, FOAM)
    pen = stage.page.figure(x, y + 0.07, scale * 0.94, stage.flip, -8.0 * ahead)
    objects.draw_board(pen, (-0.44, 0.0), (0.46, 0.02), 0.075, PAINT[stage.thing["colour"]])
    draw_person(pen, who, POSES["surf"])
    pen.finish()
    for k in range(8):
        stage.page.ellipse(x - ahead * (0.14 + 0.035 * k), y + 0.07 - 0.008 * (k % 2), 0.034, 0.022, FOAM)


def rower(stage, who, x: float, y: float, scale: float) -> None:
    adult = who.kind in ("man", "woman")
    pen = stage.page.figure(x, y - 0.02, scale, stage.flip)
    at = draw_person(pen, who, POSES["row"], seat=0.10)
    hand = at["hand_near"]
    pen.limb([(hand[0] - 0.10, hand[1] + 0.08), hand, (hand[0] + 0.42, -0.10)], 0.032, (176, 124, 80))
    pen.limb([(hand[0] + 0.36, -0.04), (hand[0] + 0.46, -0.16)], 0.075, (176, 124, 80))
    pen.finish(waterline=y + 0.05)
    pen = stage.page.figure(x + (-0.05 if stage.flip else 0.05), y, 0.76 if adult else 0.68, stage.flip)
    vehicles.draw_rowboat(pen, stage.thing["colour"])
    pen.finish()
    ripples(stage, x, y + 0.045, 0.36)


# Animals and vehicles


def creature(stage, subject: dict, colour: str, x: float, y: float, scale: float, index: int) -> None:
    """One animal or vehicle."""
    kind, action, rng, flip = subject["kind"], subject["action"], stage.rng, stage.flip
    if kind == "bird":
        y = (0.34, 0.50, 0.28)[index] if subject["count"] > 1 else 0.38
        tilt = float(rng.uniform(0, 14)) * (-1 if flip else 1)
        pen = stage.page.figure(x, y, scale, flip, tilt)
        animals.draw_bird(pen, colour, wings_up=bool((index + int(rng.integers(2))) % 2))
    elif kind == "balloon":
        y = {1: (0.66,), 2: (0.60, 0.68), 3: (0.52, 0.66, 0.56)}[subject["count"]][index]
        pen = stage.page.figure(x, y, scale)
        vehicles.draw_balloon_ship(pen, colour)
    elif kind in ("duck", "sailboat"):
        y += (0.0, 0.02, -0.03)[index]
        tilt = float(rng.uniform(-4, 4)) if kind == "sailboat" else 0.0
        pen = stage.page.figure(x, y, scale, flip, tilt)
        (animals.draw_duck if kind == "duck" else vehicles.draw_sailboat)(pen, colour)
        pen.finish(waterline=y + 0.016)
        ripples(stage, x, y + 0.014, scale * 0.52)
    elif kind in ("car", "bus", "truck"):
        stage.shadow(x, y + 0.005, scale * 0.54)
        pen = stage.page.figure(x, y, scale, flip)
        {"car": vehicles.draw_car, "bus": vehicles.draw_bus, "truck": vehicles.draw_truck}[kind](pen, colour)
    elif action == "swim":
        pen = stage.page.figure(x, y - 0.04, scale * 1.1, flip)
        animals.draw_dog(pen, colour, "swim")
        pen.finish(waterline=y - 0.034)
        ripples(stage, x, y - 0.034, scale * 0.55)
    else:
        if action == "jump":
            x, scale = 0.5 + (0.08 if flip else -0.08), scale * 0.9
        stage.shadow(x, y, scale * 0.42)
        pen = stage.page.figure(x, y, scale, flip)
        {"dog": animals.draw_dog, "cat": animals.draw_cat, "horse": animals.draw_horse}[kind](
            pen, colour, action
        )
        if action == "jump" and stage.thing:
            objects.draw_ball(pen, 0.94, 1.16, 0.14, stage.thing["colour"])
    pen.finish()
    if action == "sleep":
        pen = stage.page.figure(x + (-0.40 if flip else 0.36) * scale, y - 0.50 * scale, 0.17)
        objects.draw_sleep(pen)
        pen.finish()
