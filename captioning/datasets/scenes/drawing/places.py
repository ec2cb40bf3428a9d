"""The nine places and their skies: beach, street, park, snow, lake, desert, farm, forest, sea.

Each `draw_<place>(page, time, rng)` paints the whole background. x and y run 0..1, y down; what stands on the ground
stands at `GROUND[place]`, the y of feet in the foreground.
"""

from __future__ import annotations

import math

from captioning.datasets.scenes.drawing.objects import draw_cactus, draw_house, draw_palm, draw_pine, draw_tree
from captioning.datasets.scenes.drawing.pen import Colour, Pen, mix, shade

GROUND = {"beach": 0.90, "street": 0.90, "park": 0.90, "snow": 0.89, "lake": 0.80, "desert": 0.90, "farm": 0.90, "forest": 0.91,
          "sea": 0.74}
SKIES = {
    "day": ((88, 170, 232), (150, 210, 244), (226, 242, 246)),
    "sunset": ((92, 78, 150), (226, 112, 120), (252, 178, 104), (255, 222, 150)),
    "night": ((16, 20, 56), (32, 42, 96), (70, 84, 146)),
    "rain": ((104, 118, 138), (142, 156, 172), (184, 194, 202)),
}
TINT = {"day": ((255, 255, 255), 0.0), "sunset": ((255, 136, 84), 0.16), "night": ((22, 28, 84), 0.52), "rain": ((96, 112, 136), 0.24)}


def draw_place(page: Pen, place: str, time: str, rng) -> None:
    """Paint sky and ground of `place` at `time` (day, sunset, night or rain)."""
    _sky(page, time, rng, {"street": 0.62, "forest": 0.5}.get(place, 0.66))
    PLACES[place](page, time, rng)


def tinted(colour: Colour, time: str) -> Colour:
    """A daylight colour as it looks at `time`."""
    tint, k = TINT[time]
    return mix(colour, tint, k)


def _sky(page: Pen, time: str, rng, horizon: float) -> None:
    page.gradient(0.0, horizon, SKIES[time])
    x, y = float(rng.uniform(0.12, 0.88)), float(rng.uniform(0.10, 0.2))
    if time == "day":
        for r, alpha in ((0.15, 50), (0.105, 80)):
            page.ellipse(x, y, r, colour=(255, 246, 190, alpha))
        page.ellipse(x, y, 0.065, colour=(255, 232, 120))
    elif time == "sunset":
        y = 0.44
        for r, alpha in ((0.30, 40), (0.21, 60), (0.14, 80)):
            page.ellipse(x, y, r, colour=(255, 236, 170, alpha))
        page.ellipse(x, y, 0.095, colour=(255, 238, 160))
    elif time == "night":
        for _ in range(34):
            sx, sy, r = float(rng.random()), float(rng.uniform(0.0, 0.5)), float(rng.uniform(0.0022, 0.0055))
            page.ellipse(sx, sy, r, colour=(255, 252, 226))
        page.ellipse(x, y, 0.12, colour=(236, 236, 210, 40))
        page.ellipse(x, y, 0.07, colour=(250, 244, 214))
        for dx, dy, r in ((-0.02, -0.02, 0.016), (0.025, 0.012, 0.012), (-0.01, 0.03, 0.009)):
            page.ellipse(x + dx, y + dy, r, colour=(226, 218, 184))
    cloud = {"day": (255, 255, 255, 235), "sunset": (255, 206, 172, 170), "night": (92, 104, 160, 120), "rain": (112, 124, 142, 225)}[time]
    for _ in range(3 if time == "rain" else int(rng.integers(1, 4))):
        _cloud(page, float(rng.uniform(0.0, 1.0)), float(rng.uniform(0.06, 0.28)), float(rng.uniform(0.09, 0.15)), cloud)


def _cloud(page: Pen, x: float, y: float, size: float, colour: Colour) -> None:
    points = [(-1.1, 0.0), (-1.0, -0.22), (-0.68, -0.26), (-0.5, -0.52), (-0.1, -0.58), (0.12, -0.38), (0.42, -0.50), (0.72, -0.26),
              (1.0, -0.22), (1.1, 0.0)]
    page.blob([(x + u * size, y + v * size) for u, v in points], colour)


def _wavy(page: Pen, y: float, height: float, waves: float, phase: float, colour: Colour, bottom: float = 1.0) -> None:
    """Fill from a wavy line at `y` down to `bottom`."""
    line = [(k / 24, y + height * math.sin(2 * math.pi * (waves * k / 24 + phase))) for k in range(25)]
    page.polygon([(0.0, bottom), *line, (1.0, bottom)], colour)


def _specks(page: Pen, rng, top: float, bottom: float, count: int, colour: Colour, size: float = 0.006, flat: float = 0.5) -> None:
    for x, y, r in zip(rng.random(count), rng.uniform(top, bottom, count), rng.uniform(0.5, 1.2, count), strict=True):
        page.ellipse(float(x), float(y), float(r) * size, float(r) * size * flat, colour)


def _grass(page: Pen, rng, top: float, count: int, colour: Colour, flowers: bool) -> None:
    """Tufts, and small flowers among them."""
    petals = ((255, 244, 250), (255, 224, 96), (246, 150, 176))
    for k in range(count):
        x, y = float(rng.random()), float(rng.uniform(top, 1.0))
        s = 0.010 + 0.02 * (y - top)
        page.polygon([(x - s, y), (x - s * 0.7, y - s * 1.6), (x - s * 0.2, y - s * 0.4), (x, y - s * 2.2), (x + s * 0.3, y - s * 0.4),
                      (x + s * 0.8, y - s * 1.5), (x + s, y)], colour)
        if flowers and k % 3 == 0:
            page.ellipse(x, y - s * 2.0, 0.009, colour=petals[k % 9 // 3])


def _planted(page: Pen, x: float, y: float, scale: float, draw, *args) -> None:
    pen = page.figure(x, y, scale)
    draw(pen, *args)
    pen.finish((60, 62, 66), 0.003)


def _water(page: Pen, time: str, rng, top: float, bottom: float) -> None:
    colours = {"day": ((120, 198, 226), (52, 142, 204), (34, 112, 184)), "sunset": ((252, 190, 130), (206, 120, 140), (96, 84, 150)),
               "night": ((64, 84, 146), (30, 48, 108), (20, 30, 80)), "rain": ((136, 156, 170), (96, 122, 142), (74, 100, 124))}[time]
    page.gradient(top, bottom, colours)
    light = {"day": (226, 246, 252, 150), "sunset": (255, 232, 180, 150), "night": (170, 186, 230, 90), "rain": (206, 218, 226, 110)}[time]
    for _ in range(26):
        y = top + (bottom - top) * float(rng.random()) ** 1.3
        x, w = float(rng.random()), 0.02 + 0.07 * (y - top) / (bottom - top)
        page.ellipse(x, y, w, 0.0035, light)


def draw_beach(page: Pen, time: str, rng) -> None:
    _water(page, time, rng, 0.50, 0.75)
    phase = float(rng.random())
    _wavy(page, 0.685, 0.012, 1.5, phase, (250, 254, 255))
    _wavy(page, 0.70, 0.012, 1.5, phase, tinted((206, 178, 132), time))
    _wavy(page, 0.725, 0.012, 1.5, phase, tinted((244, 222, 168), time))
    page.gradient(0.78, 1.0, (tinted((244, 222, 168), time), tinted((232, 202, 140), time)))
    _specks(page, rng, 0.76, 1.0, 40, tinted((214, 180, 120), time))
    if rng.random() < 0.6:
        side = 0.10 if rng.random() < 0.5 else 0.90
        _planted(page, side, 0.80, 0.62, draw_palm)


def draw_street(page: Pen, time: str, rng) -> None:
    walls = ((232, 150, 110), (240, 200, 130), (150, 178, 196), (214, 122, 112), (178, 196, 160), (226, 214, 196), (168, 146, 180))
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
                page.rectangle(x + w * (0.12 + c * 0.28), top + 0.045 + r * 0.085, w * 0.17, 0.05, shade(wall, -0.32))
                page.rectangle(x + w * (0.135 + c * 0.28), top + 0.049 + r * 0.085, w * 0.14, 0.042, glow)
        door = x + w * (0.38 if rng.random() < 0.5 else 0.14)
        page.rectangle(door, 0.575, w * 0.24, 0.085, shade(wall, -0.45))
        page.rectangle(x + w * 0.06, 0.555, w * 0.84, 0.018, tinted(walls[int(rng.integers(len(walls)))], time))
        x += w
    page.gradient(0.655, 0.74, (tinted((206, 200, 196), time), tinted((190, 184, 182), time)))
    for k in range(9):
        page.polygon([(k * 0.13 - 0.05, 0.74), (k * 0.13 - 0.045, 0.74), (k * 0.125 + 0.0, 0.655), (k * 0.125 - 0.004, 0.655)],
                     tinted((168, 162, 162), time))
    page.rectangle(0.0, 0.735, 1.0, 0.018, tinted((150, 146, 150), time))
    page.gradient(0.753, 1.0, (tinted((104, 104, 116), time), tinted((84, 84, 98), time)))
    for k in range(5):
        page.polygon([(k * 0.25 - 0.04, 0.872), (k * 0.25 + 0.08, 0.872), (k * 0.25 + 0.074, 0.888), (k * 0.25 - 0.05, 0.888)],
                     tinted((246, 240, 220), time))


def draw_park(page: Pen, time: str, rng) -> None:
    phase = float(rng.random())
    _wavy(page, 0.53, 0.045, 1.2, phase, tinted((136, 186, 128), time))
    for k in range(7):
        leaf = ((92, 158, 84), (116, 170, 78), (74, 142, 92))[int(rng.integers(3))]
        x = (k + 0.5 + float(rng.uniform(-0.3, 0.3))) / 7
        _planted(page, x, 0.665 + float(rng.uniform(-0.01, 0.02)), float(rng.uniform(0.26, 0.36)), draw_tree, tinted(leaf, time), k)
    _wavy(page, 0.64, 0.012, 1.0, phase + 0.3, tinted((128, 192, 92), time))
    page.gradient(0.67, 1.0, (tinted((128, 194, 90), time), tinted((86, 160, 76), time)))
    page.polygon([(0.60, 0.655), (0.64, 0.655), (0.30, 1.0), (0.0, 1.0), (0.0, 0.95)], tinted((226, 206, 160), time))
    _grass(page, rng, 0.70, 30, tinted((74, 146, 66), time), time != "night")


def draw_snow(page: Pen, time: str, rng) -> None:
    x = -0.1
    while x < 1.1:
        w, peak = float(rng.uniform(0.34, 0.5)), float(rng.uniform(0.16, 0.3))
        rock = tinted((128, 148, 184), time)
        page.polygon([(x, 0.68), (x + w / 2, peak), (x + w, 0.68)], rock)
        page.polygon([(x + w / 2, peak), (x + w, 0.68), (x + w * 0.55, 0.68)], shade(rock, -0.2))
        d = (0.66 - peak) * 0.42
        h = w / 2 * d / (0.68 - peak)
        page.polygon([(x + w / 2, peak), (x + w / 2 - h, peak + d), (x + w / 2 - h * 0.5, peak + d * 0.8), (x + w / 2 - h * 0.1, peak + d * 1.1),
                      (x + w / 2 + h * 0.4, peak + d * 0.75), (x + w / 2 + h, peak + d)], tinted((252, 253, 255), time))
        x += w * 0.62
    _wavy(page, 0.60, 0.02, 1.0, float(rng.random()), tinted((226, 236, 248), time))
    for k in range(6):
        x = (k + 0.5 + float(rng.uniform(-0.4, 0.4))) / 6
        _planted(page, x, 0.68 + float(rng.uniform(-0.02, 0.02)), float(rng.uniform(0.18, 0.3)), draw_pine, tinted((58, 110, 100), time), True)
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
        _planted(page, x, 0.525, float(rng.uniform(0.12, 0.2)), draw_pine, tinted((60, 124, 92), time), False)
    _water(page, time, rng, 0.515, 1.0)
    page.rectangle(0.0, 0.513, 1.0, 0.012, tinted((212, 200, 150), time))
    for side in (0.03, 0.97):
        for _ in range(7):
            x, h = side + float(rng.uniform(-0.07, 0.07)), float(rng.uniform(0.10, 0.2))
            page.limb([(x, 1.01), (x + 0.012, 1.0 - h)], [0.010, 0.004], tinted((70, 132, 76), time))
            page.ellipse(x + 0.012, 1.0 - h, 0.008, 0.026, tinted((120, 78, 52), time))


def draw_sea(page: Pen, time: str, rng) -> None:
    _water(page, time, rng, 0.42, 1.0)
    phase = float(rng.random())
    deep = {"day": (30, 116, 190), "sunset": (120, 84, 146), "night": (22, 36, 92), "rain": (78, 106, 130)}[time]
    for k in range(4):
        y = 0.56 + 0.12 * k
        blue = mix(mix(deep, (190, 230, 240), 0.28), deep, k / 3)
        crest = [(i / 40, y + 0.022 * abs(math.sin(math.pi * (3 * i / 40 + phase + k * 0.37)))) for i in range(41)]
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
        page.curve([(0.0, y), (0.3, y + 0.012), (0.6, y - 0.008), (1.0, y + 0.01)], 0.003, tinted((222, 160, 86), time))
    for side in (float(rng.uniform(0.04, 0.16)), float(rng.uniform(0.84, 0.96))):
        _planted(page, side, 0.76, float(rng.uniform(0.24, 0.36)), draw_cactus)


def draw_farm(page: Pen, time: str, rng) -> None:
    phase = float(rng.random())
    _wavy(page, 0.55, 0.03, 1.1, phase, tinted((150, 190, 116), time))
    _planted(page, 0.20 if rng.random() < 0.5 else 0.80, 0.645, 0.38, draw_house, tinted((196, 62, 56), time), tinted((96, 66, 66), time))
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
    for depth, (count, colour, w) in enumerate(((9, (132, 168, 122), 0.035), (6, (104, 128, 92), 0.055), (4, (98, 72, 56), 0.085))):
        for k in range(count):
            x = (k + 0.5 + float(rng.uniform(-0.35, 0.35))) / count
            trunk = tinted(colour, time)
            page.polygon([(x - w / 2, 0.0), (x + w / 2, 0.0), (x + w * 0.55, 0.66), (x + w * 0.9, 0.70 + depth * 0.02), (x - w * 0.9, 0.70 + depth * 0.02),
                          (x - w * 0.55, 0.66)], trunk)
            page.polygon([(x + w * 0.2, 0.0), (x + w / 2, 0.0), (x + w * 0.55, 0.66), (x + w * 0.2, 0.68)], shade(trunk, -0.2))
        for _ in range(8):
            leaf = tinted(((120, 176, 96), (88, 152, 84), (58, 124, 76))[depth], time)
            page.ellipse(float(rng.random()), float(rng.uniform(-0.06, 0.12 - depth * 0.03)), 0.15, 0.09, leaf)
    for k in range(3):
        x = 0.2 + 0.3 * k + float(rng.uniform(-0.1, 0.1))
        page.polygon([(x, 0.0), (x + 0.08, 0.0), (x - 0.06, 0.75), (x - 0.24, 0.75)], (255, 250, 200, 36))
    _wavy(page, 0.69, 0.010, 2.0, float(rng.random()), tinted((96, 140, 78), time))
    page.gradient(0.72, 1.0, (tinted((100, 144, 80), time), tinted((126, 104, 70), time)))
    _grass(page, rng, 0.72, 26, tinted((62, 112, 62), time), False)
    _specks(page, rng, 0.76, 1.0, 26, tinted((206, 140, 66), time), 0.012, 0.6)


PLACES = {"beach": draw_beach, "street": draw_street, "park": draw_park, "snow": draw_snow, "lake": draw_lake, "desert": draw_desert,
          "farm": draw_farm, "forest": draw_forest, "sea": draw_sea}
