"""Dogs, cats, horses, birds, ducks: side views that face right, the body about 1 unit long, feet on y = 0."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scenes.drawing.palette import COAT
from scenes.drawing.pen import Colour, Pen, Point, mix, path, shade

EYE = (30, 24, 34)

# Legs as (near fore, far fore, near hind, far hind), each [knee offset, foot offset] from its joint.
Legs = tuple[tuple[Point, Point], ...]
GALLOP: Legs = (
    ((0.16, -0.13), (0.33, -0.18)),
    ((0.10, -0.16), (0.24, -0.26)),
    ((-0.12, -0.15), (-0.32, -0.20)),
    ((-0.05, -0.17), (-0.22, -0.28)),
)
STAND: Legs = (
    ((0.0, -0.18), (0.0, -0.36)),
    ((0.05, -0.18), (0.06, -0.36)),
    ((-0.03, -0.18), (0.0, -0.36)),
    ((0.05, -0.18), (0.08, -0.36)),
)
WALK: Legs = (
    ((0.08, -0.17), (0.12, -0.35)),
    ((-0.02, -0.18), (-0.11, -0.34)),
    ((-0.07, -0.18), (-0.13, -0.34)),
    ((0.06, -0.18), (0.10, -0.36)),
)
LEAP: Legs = (
    ((0.15, -0.08), (0.28, -0.02)),
    ((0.13, -0.12), (0.27, -0.12)),
    ((-0.10, -0.16), (-0.24, -0.28)),
    ((-0.06, -0.18), (-0.16, -0.34)),
)


def _legs(
    pen: Pen,
    legs: Legs,
    fore: Point,
    hind: Point,
    width: float,
    coat: Colour,
    which: str,
    length: float = 1.0,
    hoof: Colour | None = None,
) -> None:
    picked = (1, 3) if which == "far" else (0, 2)
    colour = shade(coat, -0.28) if which == "far" else coat
    for k in picked:
        x, y = fore if k < 2 else hind
        (kx, ky), (fx, fy) = legs[k]
        knee, foot = (x + kx * length, y + ky * length), (x + fx * length, y + fy * length)
        pen.limb([(x, y), knee, foot], [width * 1.5, width, width * 0.78], colour)
        toe = hoof or colour
        pen.limb([foot, (foot[0] + width * 0.45, foot[1])], [width * 0.8, width * 0.7], toe)


def draw_dog(pen: Pen, colour: str, action: str) -> None:
    """A dog that stands, walks, runs, jumps, sits, sleeps or swims (then only what shows above water)."""
    coat = COAT[colour]
    dark, light = shade(coat, -0.28), mix(coat, (255, 246, 232), 0.55 if colour != "white" else 0.0)
    if action == "sleep":
        pen.blob(path("-.44,.03 -.5,.18 -.4,.33 -.14,.4 .14,.36 .34,.22 .36,.03"), coat)
        pen.ellipse(-0.24, 0.17, 0.20, 0.165, shade(coat, -0.10), outline=False)  # the haunch
        pen.ellipse(-0.23, 0.165, 0.185, 0.15, coat, outline=False)
        pen.curve(path("-.46,.08 -.42,.045 -.2,.05 .02,.1"), 0.085, shade(coat, -0.16))
        pen.limb(path("-.16,.05 .02,.045"), [0.09, 0.08], coat)
        pen.limb(path(".1,.045 .56,.045"), [0.10, 0.085], coat)
        _collar(pen, (0.22, 0.30), (0.30, 0.12))
        _dog_head(pen, 0.36, 0.19, coat, dark, light, asleep=True)
        return
    if action == "sit":
        pen.curve(path("-.26,.08 -.46,.08 -.54,.26"), 0.075, coat)
        pen.limb(path(".15,.4 .17,.05 .24,.04"), [0.12, 0.09, 0.08], dark)
        pen.limb(path("-.14,.2 .1,.52"), [0.40, 0.28], coat)
        pen.ellipse(0.17, 0.46, 0.075, 0.15, light, angle=-12, outline=False)
        pen.limb(path(".1,.4 .09,.05 .17,.04"), [0.13, 0.10, 0.085], coat)
        pen.ellipse(-0.10, 0.16, 0.17, 0.15, shade(coat, -0.08))
        pen.limb(path("-.06,.045 .1,.04"), [0.10, 0.08], shade(coat, -0.08))
        pen.limb(path(".08,.56 .18,.74"), [0.23, 0.19], coat)
        _collar(pen, (0.03, 0.70), (0.25, 0.62))
        _dog_head(pen, 0.25, 0.82, coat, dark, light)
        return
    if action == "swim":
        pen.blob(path("-.5,-.05 -.42,.12 0,.13 .16,.1 .22,-.05"), coat)
        pen.limb(path(".12,.02 .26,.24"), [0.24, 0.19], coat)
        pen.curve(path("-.46,.06 -.6,.12 -.66,.24"), 0.07, coat)
        _dog_head(pen, 0.32, 0.34, coat, dark, light)
        return
    legs, base = {"run": (GALLOP, 0.46), "jump": (LEAP, 0.62), "walk": (WALK, 0.40)}.get(
        action, (STAND, 0.40)
    )
    fore, hind = (0.25, base), (-0.29, base)
    if action == "jump":
        fore, hind = (0.25, base + 0.14), (-0.27, base - 0.06)
    _legs(pen, legs, fore, hind, 0.085, coat, "far")
    tail = (hind[0] - 0.10, hind[1] + 0.12)
    pen.curve([tail, (tail[0] - 0.15, tail[1] + 0.08), (tail[0] - 0.20, tail[1] + 0.26)], 0.07, coat)
    pen.limb(
        [
            (fore[0] - 0.02, fore[1] + 0.04),
            ((fore[0] + hind[0]) / 2, (fore[1] + hind[1]) / 2 + 0.05),
            (hind[0] + 0.01, hind[1] + 0.03),
        ],
        [0.33, 0.26, 0.29],
        coat,
    )
    pen.ellipse(fore[0] + 0.06, fore[1] - 0.03, 0.09, 0.10, light, outline=False)
    _legs(pen, legs, fore, hind, 0.085, coat, "near")
    neck = (fore[0] + 0.15, fore[1] + 0.28)
    pen.limb([(fore[0] + 0.03, fore[1] + 0.08), neck], [0.25, 0.19], coat)
    _collar(pen, (neck[0] - 0.12, neck[1] - 0.02), (neck[0] + 0.06, neck[1] - 0.12))
    _dog_head(pen, neck[0] + 0.06, neck[1] + 0.06, coat, dark, light)


def _collar(pen: Pen, a: Point, b: Point) -> None:
    pen.limb([a, b], 0.045, (206, 60, 64), outline=False)


def _dog_head(
    pen: Pen, x: float, y: float, coat: Colour, dark: Colour, light: Colour, asleep: bool = False
) -> None:
    pen.limb([(x + 0.04, y - 0.04), (x + 0.21, y - 0.065)], [0.20, 0.135], light)
    pen.ellipse(x, y, 0.15, 0.145, coat)
    pen.ellipse(x + 0.285, y - 0.035, 0.042, 0.036, EYE)
    if asleep:
        pen.curve(
            [(x + 0.02, y + 0.02), (x + 0.065, y - 0.01), (x + 0.11, y + 0.02)], 0.022, EYE, outline=False
        )
    else:
        pen.ellipse(x + 0.07, y + 0.04, 0.028, 0.034, EYE, outline=False)
        pen.ellipse(x + 0.078, y + 0.052, 0.010, 0.010, (255, 255, 255), outline=False)
        pen.curve(
            [(x + 0.10, y - 0.10), (x + 0.17, y - 0.115), (x + 0.24, y - 0.09)], 0.018, EYE, outline=False
        )
    pen.blob(
        [
            (x - 0.06, y + 0.14),
            (x - 0.15, y + 0.08),
            (x - 0.18, y - 0.10),
            (x - 0.09, y - 0.16),
            (x - 0.02, y - 0.02),
        ],
        dark if dark[0] > 40 else shade(coat, 0.18),
    )


def draw_cat(pen: Pen, colour: str, action: str) -> None:
    """A cat that sits, walks, sleeps or stands: pointed ears, a long tail, whiskers."""
    coat = COAT[colour]
    stripe = shade(coat, -0.28)
    if action == "sleep":
        pen.blob(path("-.48,.02 -.52,.18 -.3,.36 .02,.36 .26,.26 .34,.02"), coat)
        for k in range(3):
            pen.limb([(-0.30 + k * 0.15, 0.33), (-0.28 + k * 0.15, 0.22)], 0.035, stripe, outline=False)
        _cat_head(pen, 0.30, 0.18, coat, asleep=True)
        pen.curve(path("-.44,.08 -.4,.04 -.1,.055 .14,.05"), 0.085, stripe)
        return
    if action == "sit":
        pen.curve(path("-.18,.06 -.44,.05 -.52,.2 -.42,.34"), 0.075, stripe)
        pen.limb(path(".12,.34 .13,.04"), [0.10, 0.08], stripe)
        pen.blob(path("-.28,.02 -.3,.24 -.12,.52 .08,.62 .2,.48 .18,.2 .1,.02"), coat)
        pen.ellipse(0.13, 0.42, 0.065, 0.15, mix(coat, (255, 250, 240), 0.6), outline=False)
        pen.limb(path(".06,.34 .05,.04 .1,.035"), [0.11, 0.085, 0.075], coat)
        pen.limb(path("-.16,.05 0,.04"), [0.12, 0.075], coat)
        for k in range(3):
            pen.limb(
                [(-0.26 + k * 0.045, 0.22 + k * 0.11), (-0.16 + k * 0.045, 0.20 + k * 0.11)],
                0.032,
                stripe,
                outline=False,
            )
        _cat_head(pen, 0.12, 0.74, coat)
        return
    legs = {"walk": WALK, "run": GALLOP}.get(action, STAND)
    fore, hind = (0.24, 0.36), (-0.28, 0.36)
    length = 0.92
    _legs(pen, legs, fore, hind, 0.07, coat, "far", length)
    pen.curve(path("-.36,.46 -.56,.5 -.62,.72 -.52,.86"), 0.07, stripe)
    pen.limb(path(".22,.42 -.02,.42 -.26,.41"), [0.24, 0.23, 0.25], coat)
    for k in range(3):
        pen.limb([(-0.22 + k * 0.14, 0.51), (-0.20 + k * 0.14, 0.42)], 0.035, stripe, outline=False)
    _legs(pen, legs, fore, hind, 0.07, coat, "near", length)
    pen.limb(path(".26,.46 .36,.58"), [0.20, 0.17], coat)
    _cat_head(pen, 0.40, 0.64, coat)


def _cat_head(pen: Pen, x: float, y: float, coat: Colour, asleep: bool = False) -> None:
    for sign in (-1, 1):
        pen.polygon(
            [(x + sign * 0.03, y + 0.11), (x + sign * 0.145, y + 0.06), (x + sign * 0.135, y + 0.24)], coat
        )
        pen.polygon(
            [(x + sign * 0.06, y + 0.11), (x + sign * 0.125, y + 0.08), (x + sign * 0.12, y + 0.19)],
            (240, 150, 150),
            outline=False,
        )
    pen.ellipse(x, y, 0.165, 0.142, coat)
    pen.ellipse(x, y - 0.055, 0.075, 0.055, mix(coat, (255, 250, 240), 0.65), outline=False)
    for sign in (-1, 1):
        if asleep:
            pen.curve(
                [(x + sign * 0.10, y + 0.01), (x + sign * 0.07, y - 0.012), (x + sign * 0.035, y + 0.01)],
                0.02,
                EYE if coat[0] > 80 else (240, 240, 240),
                outline=False,
            )
        else:
            pen.ellipse(x + sign * 0.07, y + 0.015, 0.034, 0.038, (150, 206, 92), outline=False)
            pen.ellipse(x + sign * 0.07, y + 0.015, 0.014, 0.034, EYE, outline=False)
    pen.polygon(
        [(x - 0.022, y - 0.03), (x + 0.022, y - 0.03), (x, y - 0.055)], (230, 110, 120), outline=False
    )


def draw_horse(pen: Pen, colour: str, action: str, reins: bool = False) -> None:
    """A horse that stands, walks, runs or grazes. 1 unit = the height of its back."""
    coat = COAT[colour]
    mane = shade(coat, -0.5) if colour != "black" else (24, 22, 30)
    if colour == "white":
        mane = (206, 196, 186)
    legs, base = {"run": (GALLOP, 0.66), "walk": (WALK, 0.60)}.get(action, (STAND, 0.62))
    length = 1.72 if action != "run" else 1.62
    fore, hind = (0.36, base), (-0.42, base)
    hoof = (58, 46, 48)
    _legs(pen, legs, fore, hind, 0.095, coat, "far", length, hoof)
    flow = 0.22 if action == "run" else 0.0
    pen.blob(
        [
            (-0.52, 0.80),
            (-0.62 - flow * 0.6, 0.84),
            (-0.72 - flow, 0.62 + flow),
            (-0.70 - flow * 1.3, 0.30 + flow * 1.6),
            (-0.60 - flow, 0.42 + flow),
            (-0.55, 0.62),
        ],
        mane,
    )
    pen.limb(path(".34,.74 0,.72 -.38,.75"), [0.40, 0.37, 0.41], coat)
    pen.ellipse(-0.05, 0.60, 0.30, 0.07, shade(coat, -0.14), outline=False)
    _legs(pen, legs, fore, hind, 0.095, coat, "near", length, hoof)
    neck, poll, nose = {
        "graze": (path(".38,.8 .64,.52 .74,.32"), (0.75, 0.30), (0.86, 0.07)),
        "run": (path(".4,.78 .66,.98 .8,1.1"), (0.80, 1.12), (1.06, 0.98)),
    }.get(action, (path(".4,.78 .58,1.02 .66,1.2"), (0.66, 1.22), (0.90, 1.04)))
    pen.limb(neck, [0.38, 0.26, 0.18], coat)
    _mane(pen, neck, mane, action)
    ear = (poll[0] - 0.02, poll[1] + 0.06) if action != "graze" else (poll[0] + 0.03, poll[1] + 0.06)
    pen.polygon(
        [(ear[0] - 0.05, ear[1] - 0.02), (ear[0] + 0.045, ear[1] - 0.01), (ear[0] + 0.01, ear[1] + 0.15)],
        coat,
    )
    pen.limb([poll, nose], [0.20, 0.125], coat)
    muzzle = mix_point(poll, nose, 0.9)
    tip = (222, 190, 186) if colour == "white" else mix(coat, (90, 70, 74), 0.45)
    pen.limb([muzzle, nose], [0.125, 0.12], tip, outline=False)
    pen.ellipse(nose[0] + 0.015, nose[1] + 0.015, 0.014, 0.018, EYE, outline=False)
    x, y = mix_point(poll, nose, 0.22)
    pen.ellipse(
        x + 0.01, y + 0.03, 0.024, 0.028, (235, 230, 225) if colour == "black" else EYE, outline=False
    )
    if reins:
        pen.curve(
            [muzzle, (muzzle[0] - 0.22, muzzle[1] - 0.10), (0.22, 1.08)], 0.022, (60, 40, 36), outline=False
        )
        pen.blob(path("-.18,.9 -.2,.99 .02,.95 .18,1 .18,.88 0,.8"), (110, 62, 44))


def _mane(pen: Pen, neck: Sequence[Point], mane: Colour, action: str) -> None:
    """Tufts along the upper side of the neck, from the ears to the withers; they fly back when it runs."""
    (x0, y0), (x1, y1), (x2, y2) = neck
    length = math.hypot(x2 - x0, y2 - y0)
    side = ((y0 - y2) / length, (x2 - x0) / length)  # the neck's left: its upper side
    blow = 0.07 if action == "run" else 0.0
    for k in range(6):
        t = 0.25 + k * 0.16
        x, y = mix_point((x0, y0), (x1, y1), t * 2) if t < 0.5 else mix_point((x1, y1), (x2, y2), t * 2 - 1)
        reach = 0.145 - 0.065 * t
        pen.ellipse(x + side[0] * reach - blow, y + side[1] * reach, 0.075 + blow * 0.6, 0.06, mane, angle=25)


def mix_point(a: Point, b: Point, t: float) -> Point:
    """The point a share `t` of the way from `a` to `b`."""
    return a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t


def draw_bird(pen: Pen, colour: str, wings_up: bool) -> None:
    """A bird in flight, 1 unit from beak to tail."""
    coat = COAT[colour]
    far, near = shade(coat, -0.30), shade(coat, -0.12)
    sign = 1.0 if wings_up else -0.8
    pen.blob(
        [(0.10, 0.04), (0.22, sign * 0.30), (0.10, sign * 0.62), (-0.02, sign * 0.34), (-0.10, 0.04)], far
    )
    pen.polygon(path("-.24,.04 -.62,.14 -.56,0 -.6,-.1"), near)
    pen.blob(path(".46,.06 .36,.17 .1,.13 -.3,.07 -.3,-.02 .05,-.15 .34,-.08"), coat)
    pen.ellipse(0.08, -0.07, 0.22, 0.06, mix(coat, (255, 250, 240), 0.55), outline=False, angle=6)
    pen.polygon(path(".44,.11 .62,.045 .44,.02"), (246, 172, 44))
    pen.ellipse(0.37, 0.08, 0.026, 0.028, EYE if colour != "black" else (250, 250, 250), outline=False)
    pen.blob(
        [(0.16, 0.04), (0.06, sign * 0.36), (-0.24, sign * 0.74), (-0.30, sign * 0.42), (-0.16, 0.02)], near
    )


def draw_duck(pen: Pen, colour: str) -> None:
    """A duck on the water, waterline at y = 0."""
    coat = COAT[colour]
    pen.blob(path("-.5,.2 -.4,.02 0,-.06 .34,0 .4,.18 .22,.28 -.16,.25"), coat)
    pen.limb(path(".28,.16 .34,.44"), [0.22, 0.17], coat)
    pen.limb(path(".5,.46 .62,.44"), [0.10, 0.07], (246, 158, 40))
    pen.ellipse(0.37, 0.50, 0.15, 0.14, coat)
    pen.ellipse(0.42, 0.54, 0.026, 0.028, EYE if colour != "black" else (250, 250, 250), outline=False)
    pen.blob(path("-.38,.2 -.1,.22 .16,.18 .06,.04 -.2,.04"), shade(coat, -0.18), outline=False)
