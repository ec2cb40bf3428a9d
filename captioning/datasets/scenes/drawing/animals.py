"""Dogs, cats, horses, birds, ducks: side views that face right, the body about 1 unit long, feet on y = 0."""

from __future__ import annotations

from captioning.datasets.scenes.drawing.palette import COAT
from captioning.datasets.scenes.drawing.pen import Colour, Pen, Point, mix, shade

EYE = (30, 24, 34)

# Legs as (near fore, far fore, near hind, far hind), each [knee offset, foot offset] from where it joins the body.
Legs = tuple[tuple[Point, Point], ...]
GALLOP: Legs = (((0.16, -0.13), (0.33, -0.18)), ((0.10, -0.16), (0.24, -0.26)),
                ((-0.12, -0.15), (-0.32, -0.20)), ((-0.05, -0.17), (-0.22, -0.28)))
STAND: Legs = (((0.0, -0.18), (0.0, -0.36)), ((0.05, -0.18), (0.06, -0.36)),
               ((-0.03, -0.18), (0.0, -0.36)), ((0.05, -0.18), (0.08, -0.36)))
WALK: Legs = (((0.08, -0.17), (0.12, -0.35)), ((-0.02, -0.18), (-0.11, -0.34)),
              ((-0.07, -0.18), (-0.13, -0.34)), ((0.06, -0.18), (0.10, -0.36)))
LEAP: Legs = (((0.15, -0.08), (0.28, -0.02)), ((0.13, -0.12), (0.27, -0.12)),
              ((-0.10, -0.16), (-0.24, -0.28)), ((-0.06, -0.18), (-0.16, -0.34)))


def _legs(pen: Pen, legs: Legs, fore: Point, hind: Point, width: float, coat: Colour, which: str,
          length: float = 1.0, hoof: Colour | None = None) -> None:
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
        pen.blob([(-0.46, 0.02), (-0.50, 0.20), (-0.28, 0.33), (0.05, 0.30), (0.30, 0.22), (0.36, 0.02)], coat)
        pen.ellipse(-0.30, 0.14, 0.17, 0.14, coat)
        pen.curve([(-0.44, 0.06), (-0.62, 0.06), (-0.60, 0.16)], 0.07, coat)
        pen.limb([(0.12, 0.05), (0.52, 0.05)], [0.11, 0.09], coat)
        pen.limb([(-0.3, 0.05), (-0.05, 0.045)], [0.10, 0.08], coat)
        _dog_head(pen, 0.40, 0.18, coat, dark, light, asleep=True)
        return
    if action == "sit":
        pen.curve([(-0.26, 0.08), (-0.46, 0.08), (-0.54, 0.26)], 0.075, coat)
        pen.limb([(0.15, 0.40), (0.17, 0.05), (0.24, 0.04)], [0.12, 0.09, 0.08], dark)
        pen.limb([(-0.14, 0.20), (0.10, 0.52)], [0.40, 0.28], coat)
        pen.ellipse(0.17, 0.46, 0.075, 0.15, light, angle=-12, outline=False)
        pen.limb([(0.10, 0.40), (0.09, 0.05), (0.17, 0.04)], [0.13, 0.10, 0.085], coat)
        pen.ellipse(-0.10, 0.16, 0.17, 0.15, shade(coat, -0.08))
        pen.limb([(-0.06, 0.045), (0.10, 0.04)], [0.10, 0.08], shade(coat, -0.08))
        pen.limb([(0.08, 0.56), (0.18, 0.74)], [0.23, 0.19], coat)
        _collar(pen, (0.03, 0.70), (0.25, 0.62))
        _dog_head(pen, 0.25, 0.82, coat, dark, light)
        return
    if action == "swim":
        pen.blob([(-0.50, -0.05), (-0.42, 0.12), (0.0, 0.13), (0.16, 0.10), (0.22, -0.05)], coat)
        pen.limb([(0.12, 0.02), (0.26, 0.24)], [0.24, 0.19], coat)
        pen.curve([(-0.46, 0.06), (-0.60, 0.12), (-0.66, 0.24)], 0.07, coat)
        _dog_head(pen, 0.32, 0.34, coat, dark, light)
        return
    legs, base, angle = {"run": (GALLOP, 0.46, 0), "jump": (LEAP, 0.62, 0), "walk": (WALK, 0.40, 0)}.get(
        action, (STAND, 0.40, 0))
    fore, hind = (0.25, base), (-0.29, base)
    if action == "jump":
        fore, hind = (0.25, base + 0.14), (-0.27, base - 0.06)
    _legs(pen, legs, fore, hind, 0.085, coat, "far")
    tail = (hind[0] - 0.10, hind[1] + 0.12)
    pen.curve([tail, (tail[0] - 0.15, tail[1] + 0.08), (tail[0] - 0.20, tail[1] + 0.26)], 0.07, coat)
    pen.limb([(fore[0] - 0.02, fore[1] + 0.04), ((fore[0] + hind[0]) / 2, (fore[1] + hind[1]) / 2 + 0.05),
              (hind[0] + 0.01, hind[1] + 0.03)], [0.33, 0.26, 0.29], coat)
    pen.ellipse(fore[0] + 0.06, fore[1] - 0.03, 0.09, 0.10, light, outline=False)
    _legs(pen, legs, fore, hind, 0.085, coat, "near")
    neck = (fore[0] + 0.15, fore[1] + 0.28)
    pen.limb([(fore[0] + 0.03, fore[1] + 0.08), neck], [0.25, 0.19], coat)
    _collar(pen, (neck[0] - 0.12, neck[1] - 0.02), (neck[0] + 0.06, neck[1] - 0.12))
    _dog_head(pen, neck[0] + 0.06, neck[1] + 0.06, coat, dark, light)


def _collar(pen: Pen, a: Point, b: Point) -> None:
    pen.limb([a, b], 0.045, (206, 60, 64) , outline=False)


def _dog_head(pen: Pen, x: float, y: float, coat: Colour, dark: Colour, light: Colour, asleep: bool = False) -> None:
    pen.limb([(x + 0.04, y - 0.04), (x + 0.21, y - 0.065)], [0.20, 0.135], light)
    pen.ellipse(x, y, 0.15, 0.145, coat)
    pen.ellipse(x + 0.285, y - 0.035, 0.042, 0.036, EYE)
    if asleep:
        pen.curve([(x + 0.02, y + 0.02), (x + 0.065, y - 0.01), (x + 0.11, y + 0.02)], 0.022, EYE, outline=False)
    else:
        pen.ellipse(x + 0.07, y + 0.04, 0.028, 0.034, EYE, outline=False)
        pen.ellipse(x + 0.078, y + 0.052, 0.010, 0.010, (255, 255, 255), outline=False)
        pen.curve([(x + 0.10, y - 0.10), (x + 0.17, y - 0.115), (x + 0.24, y - 0.09)], 0.018, EYE, outline=False)
    pen.blob([(x - 0.06, y + 0.14), (x - 0.15, y + 0.08), (x - 0.18, y - 0.10), (x - 0.09, y - 0.16), (x - 0.02, y - 0.02)],
             dark if dark[0] > 40 else shade(coat, 0.18))


def draw_cat(pen: Pen, colour: str, action: str) -> None:
    """A cat that sits, walks, sleeps or stands: pointed ears, a long tail, whiskers."""
    coat = COAT[colour]
    stripe = shade(coat, -0.28)
    if action == "sleep":
        pen.blob([(-0.48, 0.02), (-0.52, 0.18), (-0.30, 0.36), (0.02, 0.36), (0.26, 0.26), (0.34, 0.02)], coat)
        for k in range(3):
            pen.limb([(-0.30 + k * 0.15, 0.33), (-0.28 + k * 0.15, 0.22)], 0.035, stripe, outline=False)
        _cat_head(pen, 0.30, 0.18, coat, stripe, asleep=True)
        pen.curve([(-0.44, 0.08), (-0.40, 0.04), (-0.10, 0.055), (0.14, 0.05)], 0.085, stripe)
        return
    if action == "sit":
        pen.curve([(-0.18, 0.06), (-0.44, 0.05), (-0.52, 0.20), (-0.42, 0.34)], 0.075, stripe)
        pen.limb([(0.12, 0.34), (0.13, 0.04)], [0.10, 0.08], stripe)
        pen.blob([(-0.28, 0.02), (-0.30, 0.24), (-0.12, 0.52), (0.08, 0.62), (0.20, 0.48), (0.18, 0.20), (0.10, 0.02)], coat)
        pen.ellipse(0.13, 0.42, 0.065, 0.15, mix(coat, (255, 250, 240), 0.6), outline=False)
        pen.limb([(0.06, 0.34), (0.05, 0.04), (0.10, 0.035)], [0.11, 0.085, 0.075], coat)
        pen.limb([(-0.16, 0.05), (0.0, 0.04)], [0.12, 0.075], coat)
        for k in range(3):
            pen.limb([(-0.26 + k * 0.045, 0.22 + k * 0.11), (-0.16 + k * 0.045, 0.20 + k * 0.11)], 0.032, stripe, outline=False)
        _cat_head(pen, 0.12, 0.74, coat, stripe)
        return
    legs = {"walk": WALK, "run": GALLOP}.get(action, STAND)
    fore, hind = (0.24, 0.36), (-0.28, 0.36)
    length = 0.92
    _legs(pen, legs, fore, hind, 0.07, coat, "far", length)
    pen.curve([(-0.36, 0.46), (-0.56, 0.50), (-0.62, 0.72), (-0.52, 0.86)], 0.07, stripe)
    pen.limb([(0.22, 0.42), (-0.02, 0.42), (-0.26, 0.41)], [0.24, 0.23, 0.25], coat)
    for k in range(3):
        pen.limb([(-0.22 + k * 0.14, 0.51), (-0.20 + k * 0.14, 0.42)], 0.035, stripe, outline=False)
    _legs(pen, legs, fore, hind, 0.07, coat, "near", length)
    pen.limb([(0.26, 0.46), (0.36, 0.58)], [0.20, 0.17], coat)
    _cat_head(pen, 0.40, 0.64, coat, stripe)


def _cat_head(pen: Pen, x: float, y: float, coat: Colour, stripe: Colour, asleep: bool = False) -> None:
    for sign in (-1, 1):
        pen.polygon([(x + sign * 0.03, y + 0.11), (x + sign * 0.145, y + 0.06), (x + sign * 0.135, y + 0.24)], coat)
        pen.polygon([(x + sign * 0.06, y + 0.11), (x + sign * 0.125, y + 0.08), (x + sign * 0.12, y + 0.19)], (240, 150, 150),
                    outline=False)
    pen.ellipse(x, y, 0.165, 0.142, coat)
    pen.ellipse(x, y - 0.055, 0.075, 0.055, mix(coat, (255, 250, 240), 0.65), outline=False)
    for sign in (-1, 1):
        if asleep:
            pen.curve([(x + sign * 0.10, y + 0.01), (x + sign * 0.07, y - 0.012), (x + sign * 0.035, y + 0.01)], 0.02,
                      EYE if coat[0] > 80 else (240, 240, 240), outline=False)
        else:
            pen.ellipse(x + sign * 0.07, y + 0.015, 0.034, 0.038, (150, 206, 92), outline=False)
            pen.ellipse(x + sign * 0.07, y + 0.015, 0.014, 0.034, EYE, outline=False)
    pen.polygon([(x - 0.022, y - 0.03), (x + 0.022, y - 0.03), (x, y - 0.055)], (230, 110, 120), outline=False)


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
    pen.blob([(-0.52, 0.80), (-0.62 - flow * 0.6, 0.84), (-0.72 - flow, 0.62 + flow), (-0.70 - flow * 1.3, 0.30 + flow * 1.6),
              (-0.60 - flow, 0.42 + flow), (-0.55, 0.62)], mane)
    pen.limb([(0.34, 0.74), (0.0, 0.72), (-0.38, 0.75)], [0.40, 0.37, 0.41], coat)
    pen.ellipse(-0.05, 0.60, 0.30, 0.07, shade(coat, -0.14), outline=False)
    _legs(pen, legs, fore, hind, 0.095, coat, "near", length, hoof)
    if action == "graze":
        neck, poll, nose = [(0.40, 0.80), (0.66, 0.52), (0.74, 0.34)], (0.76, 0.32), (0.86, 0.08)
    elif action == "run":
        neck, poll, nose = [(0.40, 0.78), (0.66, 0.98), (0.80, 1.10)], (0.80, 1.12), (1.06, 0.98)
    else:
        neck, poll, nose = [(0.40, 0.78), (0.58, 1.02), (0.66, 1.20)], (0.66, 1.22), (0.90, 1.04)
    pen.limb(neck, [0.36, 0.25, 0.18], coat)
    ear = (poll[0] - 0.02, poll[1] + 0.06)
    pen.polygon([(ear[0] - 0.05, ear[1] - 0.02), (ear[0] + 0.045, ear[1] - 0.01), (ear[0] + 0.0, ear[1] + 0.15)], coat)
    pen.limb([poll, nose], [0.20, 0.125], coat)
    muzzle = (poll[0] + (nose[0] - poll[0]) * 0.9, poll[1] + (nose[1] - poll[1]) * 0.9)
    pen.limb([muzzle, nose], [0.125, 0.12], mix(coat, (90, 70, 74), 0.45) if colour != "white" else (222, 190, 186), outline=False)
    pen.ellipse(nose[0] + 0.015, nose[1] + 0.015, 0.014, 0.018, EYE, outline=False)
    eye = (poll[0] + (nose[0] - poll[0]) * 0.22 + 0.01, poll[1] + (nose[1] - poll[1]) * 0.22 + 0.03)
    pen.ellipse(*eye, 0.022, 0.026, EYE if colour != "black" else (235, 230, 225), outline=False)
    side = (-0.10, 0.05)
    strands = [(x + side[0], y + side[1]) for x, y in neck]
    blow = 0.10 if action == "run" else 0.0
    for k, (x, y) in enumerate([((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) for a, b in zip(strands, strands[1:], strict=False)] + strands[1:]):
        pen.ellipse(x - blow * 0.5 + k * 0.006, y + 0.01, 0.095 + blow * 0.5, 0.085, mane, angle=20)
    pen.ellipse(poll[0] - 0.02, poll[1] + 0.07, 0.06, 0.045, mane)
    if reins:
        pen.curve([muzzle, (muzzle[0] - 0.22, muzzle[1] - 0.10), (0.22, 1.08)], 0.022, (60, 40, 36), outline=False)
        pen.blob([(-0.18, 0.90), (-0.20, 0.99), (0.02, 0.95), (0.18, 1.00), (0.18, 0.88), (0.0, 0.80)], (110, 62, 44))


def draw_bird(pen: Pen, colour: str, wings_up: bool) -> None:
    """A bird in flight, 1 unit from beak to tail."""
    coat = COAT[colour]
    far, near = shade(coat, -0.30), shade(coat, -0.12)
    sign = 1.0 if wings_up else -0.8
    pen.blob([(0.10, 0.04), (0.22, sign * 0.30), (0.10, sign * 0.62), (-0.02, sign * 0.34), (-0.10, 0.04)], far)
    pen.polygon([(-0.24, 0.04), (-0.62, 0.14), (-0.56, 0.0), (-0.60, -0.10)], near)
    pen.blob([(0.46, 0.06), (0.36, 0.17), (0.10, 0.13), (-0.30, 0.07), (-0.30, -0.02), (0.05, -0.15), (0.34, -0.08)], coat)
    pen.ellipse(0.08, -0.07, 0.22, 0.06, mix(coat, (255, 250, 240), 0.55), outline=False, angle=6)
    pen.polygon([(0.44, 0.11), (0.62, 0.045), (0.44, 0.02)], (246, 172, 44))
    pen.ellipse(0.37, 0.08, 0.026, 0.028, EYE if colour != "black" else (250, 250, 250), outline=False)
    pen.blob([(0.16, 0.04), (0.06, sign * 0.36), (-0.24, sign * 0.74), (-0.30, sign * 0.42), (-0.16, 0.02)], near)


def draw_duck(pen: Pen, colour: str) -> None:
    """A duck on the water, waterline at y = 0."""
    coat = COAT[colour]
    pen.blob([(-0.50, 0.20), (-0.40, 0.02), (0.0, -0.06), (0.34, 0.0), (0.40, 0.18), (0.22, 0.28), (-0.16, 0.25)], coat)
    pen.limb([(0.28, 0.16), (0.34, 0.44)], [0.22, 0.17], coat)
    pen.limb([(0.50, 0.46), (0.62, 0.44)], [0.10, 0.07], (246, 158, 40))
    pen.ellipse(0.37, 0.50, 0.15, 0.14, coat)
    pen.ellipse(0.42, 0.54, 0.026, 0.028, EYE if colour != "black" else (250, 250, 250), outline=False)
    pen.blob([(-0.38, 0.20), (-0.10, 0.22), (0.16, 0.18), (0.06, 0.04), (-0.20, 0.04)], shade(coat, -0.18), outline=False)
