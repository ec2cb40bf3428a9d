"""The nine places: beach, street, park, snow, lake, desert, farm, forest, sea.

Each `draw_<place>(page, time, rng)` paints the whole background. x and y run 0..1, y down; what stands on the
ground stands at `GROUND[place]`, the y of feet in the foreground.
"""

from __future__ import annotations

import math

from scenes.drawing.light import CLEAR, draw_sky, draw_water, tinted, tone
from scenes.drawing.objects import draw_cactus, draw_house, draw_palm, draw_pine, draw_tree
from scenes.drawing.pen import Colour, Pen, mix, path, shade

GROUND = {
    "beach": 0.90,
    "street": 0.90,
    "park": 0.90,
    "snow": 0.89,
    "lake": 0.80,
    "desert": 0.90,
    "farm": 0.90,
    "forest": 0.91,
    "sea": 0.74,
}


def draw_place(page: Pen, place: str, time: str, rng) -> None:
    """Paint sky and ground of `place` at `time` (day, sunset, night or rain)."""
    draw_sky(page, time, rng, {"street": 0.62, "forest": 0.5}.get(place, 0.66))
    page.tone = tone(time, 1.0)
    PLACES[place](page, time, rng)
    page.tone = tone(time, CLEAR)


def _wavy(page: Pen, y: float, height: float, waves: float, phase: float, colour: Colour) -> None:
    """Fill from a wavy line at `y` down to the bottom."""
    line = [(k / 24, y + height * math.sin(2 * math.pi * (waves * k / 24 + phase))) for k in range(25)]
    page.polygon([(0.0, 1.0), *line, (1.0, 1.0)], colour)


def _specks(
    page: Pen,
    rng,
    top: float,
    bottom: float,
    count: int,
    colour: Colour,
    size: float = 0.006,
    flat: float = 0.5,
) -> None:
    for x, y, r in zip(
        rng.random(count), rng.uniform(top, bottom, count), rng.uniform(0.5, 1.2, count), strict=True
    ):
        page.ellipse(float(x), float(y), float(r) * size, float(r) * size * flat, colour)


def _grass(page: Pen, rng, top: float, count: int, colour: Colour, flowers: bool) -> None:
    """Tufts, and small flowers among them."""
    petals = ((255, 244, 250), (255, 224, 96), (246, 150, 176))
    for k in range(count):
        x, y = float(rng.random()), float(rng.uniform(top, 1.0))
        s = 0.010 + 0.02 * (y - top)
        page.polygon(
            [
                (x - s, y),
                (x - s * 0.7, y - s * 1.6),
                (x - s * 0.2, y - s * 0.4),
                (x, y - s * 2.2),
                (x + s * 0.3, y - s * 0.4),
                (x + s * 0.8, y - s * 1.5),
                (x + s, y),
            ],
            colour,
        )
        if flowers and k % 3 == 0:
            page.ellipse(x, y - s * 2.0, 0.009, colour=petals[k % 9 // 3])


def _planted(page: Pen, x: float, y: float, scale: float, draw, *args) -> None:
    pen = page.figure(x, y, scale)
    draw(pen, *args)
    pen.finish((60, 62, 66), 0.003)


def draw_beach(page: Pen, time: str, rng) -> None:
    draw_water(page, time, rng, 0.50, 0.75)
    phase = float(rng.random())
    _wavy(page, 0.685, 0.012, 1.5, phase, (250, 254, 255))
    _wavy(page, 0.70, 0.012, 1.5, phase, tinted((206, 178, 132), time))
    _wavy(page, 0.725, 0.012, 1.5, phase, tinted((244, 222, 168), time))
    page.gradient(0.78, 1.0, (tinted((244, 222, 168), time), tinted((232, 202, 140), time)))
    _specks(page, rng, 0.76, 1.0, 40, tinted((214, 180, 120), time))
    for _ in range(3):
        _starfish(
            page, float(rng.random()), float(rng.uniform(0.82, 0.97)), 0.016, tinted((236, 132, 100), time)
        )
    if rng.random() < 0.6:
        side = 0.10 if rng.random() < 0.5 else 0.90
        _planted(page, side, 0.80, 0.62, draw_palm)


def _starfish(page: Pen, x: float, y: float, r: float, colour: Colour) -> None:
    points = [(math.sin(math.pi * k / 5), -math.cos(math.pi * k / 5)) for k in range(10)]
    reach = (1.0, 0.45) * 5
    page.polygon(
        [(x + u * r * k, y + v * r * k * 0.7) for (u, v), k in zip(points, reach, strict=True)], colour
    )


def _lamp(page: Pen, x: float, lit: bool, colour: Colour) -> None:
    """A street lamp on the pavement, with a glow when it is lit."""
    page.rectangle(x - 0.006, 0.30, 0.012, 0.42, colour)
    page.rectangle(x - 0.016, 0.70, 0.032, 0.03, colour)
    if lit:
        page.ellipse(x, 0.28, 0.11, colour=(255, 226, 140, 46))
        page.ellipse(x, 0.28, 0.065, colour=(255, 232, 160, 80))
    page.polygon(
        [(x - 0.026, 0.25), (x + 0.026, 0.25), (x + 0.016, 0.305), (x - 0.016, 0.305)],
        (255, 240, 180) if lit else (240, 244, 240),
    )
    page.polygon([(x - 0.032, 0.254), (x + 0.032, 0.254), (x, 0.222)], colour)


def draw_street(page: Pen, time: str, rng) -> None:
    walls = (
        (232, 150, 110),
        (240, 200, 130),
        (150, 178, 196),
        (214, 122, 112),
        (178, 196, 160),
        (226, 214, 196),
        (168, 146, 180),
    )
    x, lit = -0.02, time in ("night", "sunset")
    while x < 1.0:
        w, top = float(rng.uniform(0.17, 0.27)), float(rng.uniform(0.10, 0.36))
        wall = tinted(walls[int(rng.integers(len(walls)))], time)
        page.rectangle(x, top, w, 0.66 - top, wall)
        page.rectangle(x + w * 0.93, top, w * 0.07, 0.66 - top, shade(wall, -0.18))
        page.rectangle(x - 0.006, top, w + 0.012, 0.018, shade(wall, -0.3))
        pane = (255, 226, 130) if lit else tinted((196, 226, 238), time)
        rows, columns = int((0.56 - top) / 0.085), 3
        for r in range(rows):
            for c in range(columns):
                glow = pane if not lit or rng.random() < 0.7 else shade(wall, -0.4)
                page.rectangle(
                    x + w * (0.12 + c * 0.28), top + 0.045 + r * 0.085, w * 0.17, 0.05, shade(wall, -0.32)
                )
                page.rectangle(x + w * (0.135 + c * 0.28), top + 0.049 + r * 0.085, w * 0.14, 0.042, glow)
        door = x + w * (0.38 if rng.random() < 0.5 else 0.14)
        page.rectangle(door, 0.575, w * 0.24, 0.085, shade(wall, -0.45))
        page.rectangle(
            x + w * 0.06, 0.555, w * 0.84, 0.018, tinted(walls[int(rng.integers(len(walls)))], time)
        )
        x += w
    page.gradient(0.655, 0.74, (tinted((206, 200, 196), time), tinted((190, 184, 182), time)))
    for k in range(9):
        page.polygon(
            [
                (k * 0.13 - 0.05, 0.74),
                (k * 0.13 - 0.045, 0.74),
                (k * 0.125 + 0.0, 0.655),
                (k * 0.125 - 0.004, 0.655),
            ],
            tinted((168, 162, 162), time),
        )
    for x in (float(rng.uniform(0.04, 0.14)), float(rng.uniform(0.86, 0.96))):
        _lamp(page, x, lit, tinted((74, 78, 92), time))
    page.rectangle(0.0, 0.735, 1.0, 0.018, tinted((150, 146, 150), time))
    page.gradient(0.753, 1.0, (tinted((104, 104, 116), time), tinted((84, 84, 98), time)))
    for k in range(5):
        page.polygon(
            [
                (k * 0.25 - 0.04, 0.872),
                (k * 0.25 + 0.08, 0.872),
                (k * 0.25 + 0.074, 0.888),
                (k * 0.25 - 0.05, 0.888),
            ],
            tinted((246, 240, 220), time),
        )


def draw_park(page: Pen, time: str, rng) -> None:
    phase = float(rng.random())
    _wavy(page, 0.53, 0.045, 1.2, phase, tinted((136, 186, 128), time))
    for k in range(7):
        leaf = ((92, 158, 84), (116, 170, 78), (74, 142, 92))[int(rng.integers(3))]
        x = (k + 0.5 + float(rng.uniform(-0.3, 0.3))) / 7
        _planted(
            page,
            x,
            0.665 + float(rng.uniform(-0.01, 0.02)),
            float(rng.uniform(0.26, 0.36)),
            draw_tree,
            leaf,
            k,
        )
    _wavy(page, 0.64, 0.012, 1.0, phase + 0.3, tinted((128, 192, 92), time))
    page.gradient(0.67, 1.0, (tinted((128, 194, 90), time), tinted((86, 160, 76), time)))
    page.polygon(path(".6,.655 .64,.655 .3,1 0,1 0,.95"), tinted((226, 206, 160), time))
    _grass(page, rng, 0.70, 30, tinted((74, 146, 66), time), time != "night")


def _cabin(page: Pen, x: float, y: float, time: str) -> None:
    """A far wooden cabin with snow on its roof and a light in the window."""
    wall = tinted((150, 98, 64), time)
    page.rectangle(x - 0.05, y - 0.06, 0.10, 0.06, wall)
    page.polygon(
        [(x - 0.065, y - 0.055), (x, y - 0.115), (x + 0.065, y - 0.055)], tinted((250, 252, 255), time)
    )
    page.rectangle(x - 0.032, y - 0.042, 0.024, 0.022, (255, 226, 130))
    page.rectangle(x + 0.010, y - 0.042, 0.022, 0.042, shade(wall, -0.35))


def draw_snow(page: Pen, time: str, rng) -> None:
    x = -0.1
    while x < 1.1:
        w, peak = float(rng.uniform(0.34, 0.5)), float(rng.uniform(0.16, 0.3))
        rock = tinted((128, 148, 184), time)
        page.polygon([(x, 0.68), (x + w / 2, peak), (x + w, 0.68)], rock)
        page.polygon([(x + w / 2, peak), (x + w, 0.68), (x + w * 0.55, 0.68)], shade(rock, -0.2))
        d = (0.66 - peak) * 0.42
        h = w / 2 * d / (0.68 - peak)
        page.polygon(
            [
                (x + w / 2, peak),
                (x + w / 2 - h, peak + d),
                (x + w / 2 - h * 0.5, peak + d * 0.8),
                (x + w / 2 - h * 0.1, peak + d * 1.1),
                (x + w / 2 + h * 0.4, peak + d * 0.75),
                (x + w / 2 + h, peak + d),
            ],
            tinted((252, 253, 255), time),
        )
        x += w * 0.62
    _wavy(page, 0.60, 0.02, 1.0, float(rng.random()), tinted((226, 236, 248), time))
    for k in range(6):
        x = (k + 0.5 + float(rng.uniform(-0.4, 0.4))) / 6
        _planted(
            page,
            x,
            0.68 + float(rng.uniform(-0.02, 0.02)),
            float(rng.uniform(0.18, 0.3)),
            draw_pine,
            (58, 110, 100),
            True,
        )
    if rng.random() < 0.5:
        _cabin(page, float(rng.uniform(0.1, 0.9)), 0.685, time)
    _wavy(page, 0.675, 0.014, 1.0, float(rng.random()), tinted((244, 249, 255), time))
    page.gradient(0.70, 1.0, (tinted((246, 250, 255), time), tinted((212, 226, 244), time)))
    for _ in range(4):
        x, y = float(rng.random()), float(rng.uniform(0.76, 0.98))
        page.ellipse(x, y, 0.14, 0.010, tinted((224, 234, 248), time))


def draw_lake(page: Pen, time: str, rng) -> None:
    phase = float(rng.random())
    _wavy(page, 0.42, 0.05, 1.3, phase, tinted((144, 176, 182), time))
    _wavy(page, 0.47, 0.02, 1.7, phase + 0.4, tinted((96, 152, 112), time))
    for k in range(11):
        x = (k + 0.5 + float(rng.uniform(-0.3, 0.3))) / 11
        _planted(page, x, 0.525, float(rng.uniform(0.12, 0.2)), draw_pine, (60, 124, 92), False)
    draw_water(page, time, rng, 0.515, 1.0)
    page.rectangle(0.0, 0.513, 1.0, 0.012, tinted((212, 200, 150), time))
    for side in (0.03, 0.97):
        for _ in range(7):
            x, h = side + float(rng.uniform(-0.07, 0.07)), float(rng.uniform(0.10, 0.2))
            page.limb([(x, 1.01), (x + 0.012, 1.0 - h)], [0.010, 0.004], tinted((70, 132, 76), time))
            page.ellipse(x + 0.012, 1.0 - h, 0.008, 0.026, tinted((120, 78, 52), time))


def draw_sea(page: Pen, time: str, rng) -> None:
    draw_water(page, time, rng, 0.42, 1.0)
    phase = float(rng.random())
    deep = {"day": (30, 116, 190), "sunset": (120, 84, 146), "night": (22, 36, 92), "rain": (78, 106, 130)}[
        time
    ]
    for k in range(4):
        y = 0.56 + 0.12 * k
        blue = mix(mix(deep, (190, 230, 240), 0.28), deep, k / 3)
        crest = [
            (i / 40, y + 0.022 * abs(math.sin(math.pi * (3 * i / 40 + phase + k * 0.37)))) for i in range(41)
        ]
        page.polygon([(0.0, 1.0), *crest, (1.0, 1.0)], blue)
        page.limb(crest[::2], 0.007 + 0.002 * k, (240, 250, 252, 255))


def draw_desert(page: Pen, time: str, rng) -> None:
    phase = float(rng.random())
    mesa = tinted((206, 122, 88), time)
    x = float(rng.uniform(0.0, 0.5))
    page.polygon([(x, 0.62), (x + 0.05, 0.42), (x + 0.28, 0.41), (x + 0.34, 0.62)], mesa)
    page.polygon([(x + 0.20, 0.41), (x + 0.28, 0.41), (x + 0.34, 0.62), (x + 0.22, 0.62)], shade(mesa, -0.16))
    _wavy(page, 0.60, 0.03, 1.2, phase, tinted((240, 190, 118), time))
    _wavy(page, 0.67, 0.035, 0.9, phase + 0.4, tinted((232, 172, 98), time))
    _wavy(page, 0.75, 0.02, 0.8, phase + 0.7, tinted((244, 192, 112), time))
    page.gradient(0.79, 1.0, (tinted((244, 192, 112), time), tinted((226, 162, 84), time)))
    for k in range(5):
        y = 0.80 + 0.045 * k
        page.curve(
            [(0.0, y), (0.3, y + 0.012), (0.6, y - 0.008), (1.0, y + 0.01)],
            0.003,
            tinted((222, 160, 86), time),
        )
    for side in (float(rng.uniform(0.04, 0.16)), float(rng.uniform(0.84, 0.96))):
        _planted(page, side, 0.76, float(rng.uniform(0.24, 0.36)), draw_cactus)


def draw_farm(page: Pen, time: str, rng) -> None:
    phase = float(rng.random())
    _wavy(page, 0.55, 0.03, 1.1, phase, tinted((150, 190, 116), time))
    _planted(
        page,
        0.20 if rng.random() < 0.5 else 0.80,
        0.645,
        0.38,
        draw_house,
        (196, 62, 56),
        (96, 66, 66),
    )
    _wavy(page, 0.63, 0.012, 1.0, phase + 0.2, tinted((236, 200, 96), time))
    page.gradient(0.66, 1.0, (tinted((238, 204, 100), time), tinted((214, 166, 66), time)))
    rail = tinted((250, 244, 232), time)
    for k in range(9):
        page.rectangle(k * 0.125 + 0.02, 0.61, 0.018, 0.12, rail)
    for y in (0.63, 0.675):
        page.rectangle(0.0, y, 1.0, 0.016, rail)
    dark, light = tinted((196, 146, 52), time), tinted((250, 224, 136), time)
    for k in range(60):
        x, y = float(rng.random()), float(rng.uniform(0.74, 1.02))
        page.limb([(x, y), (x + 0.008, y - 0.045)], 0.004, dark if k % 2 else light)


def draw_forest(page: Pen, time: str, rng) -> None:
    page.gradient(0.0, 0.72, (tinted((118, 170, 120), time), tinted((182, 214, 150), time)))
    for depth, (count, colour, w) in enumerate(
        ((9, (132, 168, 122), 0.035), (6, (104, 128, 92), 0.055), (4, (98, 72, 56), 0.085))
    ):
        for k in range(count):
            x = (k + 0.5 + float(rng.uniform(-0.35, 0.35))) / count
            trunk = tinted(colour, time)
            page.polygon(
                [
                    (x - w / 2, 0.0),
                    (x + w / 2, 0.0),
                    (x + w * 0.55, 0.66),
                    (x + w * 0.9, 0.70 + depth * 0.02),
                    (x - w * 0.9, 0.70 + depth * 0.02),
                    (x - w * 0.55, 0.66),
                ],
                trunk,
            )
            page.polygon(
                [(x + w * 0.2, 0.0), (x + w / 2, 0.0), (x + w * 0.55, 0.66), (x + w * 0.2, 0.68)],
                shade(trunk, -0.2),
            )
        for _ in range(8):
            leaf = tinted(((120, 176, 96), (88, 152, 84), (58, 124, 76))[depth], time)
            page.ellipse(
                float(rng.random()), float(rng.uniform(-0.06, 0.12 - depth * 0.03)), 0.15, 0.09, leaf
            )
    for k in range(3):
        x = 0.2 + 0.3 * k + float(rng.uniform(-0.1, 0.1))
        page.polygon([(x, 0.0), (x + 0.08, 0.0), (x - 0.06, 0.75), (x - 0.24, 0.75)], (255, 250, 200, 36))
    _wavy(page, 0.69, 0.010, 2.0, float(rng.random()), tinted((96, 140, 78), time))
    page.gradient(0.72, 1.0, (tinted((100, 144, 80), time), tinted((126, 104, 70), time)))
    _grass(page, rng, 0.72, 26, tinted((62, 112, 62), time), False)
    _specks(page, rng, 0.76, 1.0, 26, tinted((206, 140, 66), time), 0.012, 0.6)


PLACES = {
    "beach": draw_beach,
    "street": draw_street,
    "park": draw_park,
    "snow": draw_snow,
    "lake": draw_lake,
    "desert": draw_desert,
    "farm": draw_farm,
    "forest": draw_forest,
    "sea": draw_sea,
}
