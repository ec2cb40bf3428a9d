"""Cars, buses, trucks, bicycles, boats, balloons: side views that face right, wheels or keel on y = 0."""

from __future__ import annotations

import math

from captioning.datasets.scenes.drawing.palette import PAINT
from captioning.datasets.scenes.drawing.pen import Pen, shade

GLASS, GLASS_DARK, TYRE, RIM = (186, 222, 238), (128, 178, 206), (42, 40, 48), (206, 208, 214)


def _wheel(pen: Pen, x: float, r: float) -> None:
    pen.ellipse(x, r, r, colour=TYRE)
    pen.ellipse(x, r, r * 0.56, colour=RIM, outline=False)
    pen.ellipse(x, r, r * 0.2, colour=(120, 122, 132), outline=False)


def draw_car(pen: Pen, colour: str) -> None:
    """1 unit long."""
    paint = PAINT[colour]
    dark = shade(paint, -0.22)
    pen.blob([(-0.30, 0.22), (-0.20, 0.38), (-0.08, 0.42), (0.10, 0.41), (0.24, 0.24)], paint)
    pen.blob([(-0.50, 0.10), (-0.49, 0.22), (-0.40, 0.26), (0.0, 0.27), (0.26, 0.26), (0.44, 0.22), (0.50, 0.14), (0.49, 0.08),
              (0.0, 0.06), (-0.46, 0.06)], paint)
    pen.polygon([(-0.245, 0.26), (-0.18, 0.365), (-0.04, 0.39), (-0.04, 0.26)], GLASS, outline=False)
    pen.polygon([(-0.01, 0.26), (-0.01, 0.39), (0.08, 0.38), (0.19, 0.26)], GLASS, outline=False)
    pen.polygon([(0.03, 0.26), (0.08, 0.38), (0.10, 0.365), (0.07, 0.26)], (232, 246, 250), outline=False)
    pen.polygon([(-0.49, 0.12), (0.49, 0.12), (0.47, 0.07), (-0.46, 0.07)], dark, outline=False)
    pen.limb([(-0.08, 0.21), (-0.03, 0.21)], 0.016, dark, outline=False)
    pen.ellipse(0.465, 0.18, 0.022, 0.03, (255, 240, 180), outline=False)
    pen.ellipse(-0.48, 0.19, 0.016, 0.03, (236, 70, 60), outline=False)
    for x in (-0.28, 0.28):
        _wheel(pen, x, 0.092)


def draw_bus(pen: Pen, colour: str) -> None:
    """1 unit long."""
    paint = PAINT[colour]
    pen.blob([(-0.50, 0.08), (-0.50, 0.26), (-0.49, 0.46), (-0.40, 0.49), (0.40, 0.49), (0.48, 0.46), (0.50, 0.30), (0.50, 0.08),
              (0.0, 0.07)], paint)
    pen.rectangle(-0.495, 0.185, 0.99, 0.035, shade(paint, 0.6 if colour != "white" else -0.4), outline=False)
    pen.rectangle(-0.495, 0.075, 0.99, 0.035, shade(paint, -0.28), outline=False)
    for k in range(4):
        pen.rectangle(-0.46 + k * 0.17, 0.265, 0.14, 0.145, GLASS, outline=False)
        pen.polygon([(-0.41 + k * 0.17, 0.265), (-0.36 + k * 0.17, 0.41), (-0.325 + k * 0.17, 0.41), (-0.375 + k * 0.17, 0.265)],
                    (224, 242, 248), outline=False)
    pen.rectangle(0.24, 0.11, 0.10, 0.30, GLASS_DARK, outline=False)
    pen.limb([(0.29, 0.11), (0.29, 0.41)], 0.012, shade(paint, -0.2), outline=False)
    pen.polygon([(0.38, 0.25), (0.38, 0.41), (0.475, 0.41), (0.49, 0.25)], GLASS, outline=False)
    pen.ellipse(0.485, 0.15, 0.018, 0.026, (255, 240, 180), outline=False)
    for x in (-0.29, 0.17):
        _wheel(pen, x, 0.082)


def draw_truck(pen: Pen, colour: str) -> None:
    """A lorry: cab and box in one colour, 1 unit long."""
    paint = PAINT[colour]
    pen.rectangle(-0.48, 0.07, 0.96, 0.06, (72, 74, 86))
    pen.polygon([(-0.50, 0.13), (-0.50, 0.52), (0.18, 0.52), (0.18, 0.13)], paint)
    for k in range(5):
        pen.limb([(-0.40 + k * 0.12, 0.17), (-0.40 + k * 0.12, 0.48)], 0.010, shade(paint, -0.2), outline=False)
    pen.polygon([(0.20, 0.08), (0.20, 0.42), (0.36, 0.42), (0.46, 0.26), (0.50, 0.22), (0.50, 0.08)], shade(paint, -0.12))
    pen.polygon([(0.24, 0.25), (0.24, 0.38), (0.345, 0.38), (0.425, 0.25)], GLASS, outline=False)
    pen.ellipse(0.485, 0.15, 0.018, 0.026, (255, 240, 180), outline=False)
    for x in (-0.36, -0.14, 0.34):
        _wheel(pen, x, 0.082)


def draw_bicycle(pen: Pen, colour: str) -> None:
    """1 unit between the wheels' outer edges; saddle at (-0.12, 0.52), handlebar at (0.24, 0.60), pedals near (0, 0.2)."""
    paint = PAINT[colour]
    for x in (-0.29, 0.29):
        _ring(pen, x, 0.21, 0.21, 0.03)
        for k in range(6):
            a = math.pi * k / 6
            pen.limb([(x - 0.19 * math.cos(a), 0.21 - 0.19 * math.sin(a)), (x + 0.19 * math.cos(a), 0.21 + 0.19 * math.sin(a))],
                     0.006, (170, 172, 182), outline=False)
    w = 0.034
    for line in ([(-0.29, 0.21), (0.0, 0.20), (0.20, 0.48), (-0.10, 0.45), (-0.29, 0.21)], [(-0.12, 0.50), (0.0, 0.20)],
                 [(0.22, 0.58), (0.20, 0.48), (0.29, 0.21)]):
        pen.limb(line, w, paint)
    pen.limb([(0.21, 0.58), (0.28, 0.60)], 0.03, TYRE)
    pen.limb([(-0.19, 0.525), (-0.05, 0.515)], [0.055, 0.035], TYRE)
    pen.ellipse(0.0, 0.20, 0.045, colour=(120, 122, 132))


def _ring(pen: Pen, x: float, y: float, r: float, width: float) -> None:
    n = 20
    for k in range(n):
        a, b = 2 * math.pi * k / n, 2 * math.pi * (k + 1) / n
        pen.polygon([(x + r * math.cos(a), y + r * math.sin(a)), (x + r * math.cos(b), y + r * math.sin(b)),
                     (x + (r - width) * math.cos(b), y + (r - width) * math.sin(b)),
                     (x + (r - width) * math.cos(a), y + (r - width) * math.sin(a))], TYRE)


def draw_sailboat(pen: Pen, colour: str) -> None:
    """A boat under a coloured sail, 1 unit long, waterline at y = 0."""
    sail = PAINT[colour]
    pen.limb([(0.0, 0.10), (0.0, 1.12)], 0.026, (112, 78, 56))
    pen.polygon([(0.03, 1.08), (0.03, 0.24), (0.46, 0.24), (0.30, 0.62)], sail)
    pen.polygon([(-0.03, 1.0), (-0.03, 0.24), (-0.36, 0.24), (-0.20, 0.60)], shade(sail, -0.14))
    pen.blob([(-0.48, 0.17), (-0.50, 0.19), (-0.36, -0.05), (0.0, -0.08), (0.36, -0.05), (0.52, 0.20), (0.48, 0.18)], (134, 82, 52))
    pen.limb([(-0.45, 0.155), (0.47, 0.165)], 0.03, (246, 236, 216), outline=False)
    pen.polygon([(0.0, 1.12), (0.0, 1.19), (-0.12, 1.155)], shade(sail, -0.3))


def draw_rowboat(pen: Pen, colour: str) -> None:
    """An open boat, 1 unit long, waterline at y = 0."""
    paint = PAINT[colour]
    pen.blob([(-0.52, 0.22), (-0.42, -0.04), (0.0, -0.08), (0.42, -0.04), (0.54, 0.24), (0.46, 0.20), (0.0, 0.155), (-0.44, 0.19)],
             paint)
    pen.curve([(-0.49, 0.19), (0.0, 0.145), (0.50, 0.205)], 0.03, shade(paint, -0.35), outline=False)


def draw_balloon_ship(pen: Pen, colour: str, second: str = "white") -> None:
    """A hot air balloon, 1 unit wide; basket at the bottom, y = 0."""
    paint, other = PAINT[colour], shade(PAINT[colour], 0.42)
    pen.limb([(-0.09, 0.14), (-0.24, 0.42)], 0.014, (90, 66, 52))
    pen.limb([(0.09, 0.14), (0.24, 0.42)], 0.014, (90, 66, 52))
    pen.limb([(0.0, 0.14), (0.0, 0.42)], 0.014, (90, 66, 52))
    outline = [(-0.5, 0.86), (-0.44, 0.62), (-0.20, 0.36), (0.20, 0.36), (0.44, 0.62), (0.5, 0.86), (0.38, 1.18), (0.0, 1.34),
               (-0.38, 1.18)]
    pen.blob(outline, paint)
    for k in (0.62, 0.2):
        points = [(x * k, y) for x, y in outline]
        pen.blob(points, other if k == 0.62 else paint, outline=False)
    pen.polygon([(-0.11, 0.16), (0.11, 0.16), (0.09, 0.0), (-0.09, 0.0)], (160, 106, 62))
    pen.limb([(-0.115, 0.155), (0.115, 0.155)], 0.03, (120, 76, 46))
