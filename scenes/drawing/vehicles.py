"""Cars, buses, trucks, bicycles, boats, balloons: side views that face right, wheels or keel on y = 0."""

from __future__ import annotations

import math

from scenes.drawing.palette import PAINT
from scenes.drawing.pen import Pen, path, shade

GLASS, GLASS_DARK, TYRE, RIM = (186, 222, 238), (128, 178, 206), (42, 40, 48), (206, 208, 214)


def _wheel(pen: Pen, x: float, r: float) -> None:
    pen.ellipse(x, r, r, colour=TYRE)
    pen.ellipse(x, r, r * 0.56, colour=RIM, outline=False)
    pen.ellipse(x, r, r * 0.2, colour=(120, 122, 132), outline=False)


def draw_car(pen: Pen, colour: str) -> None:
    """1 unit long."""
    paint = PAINT[colour]
    dark = shade(paint, -0.22)
    pen.blob(path("-.3,.22 -.2,.38 -.08,.42 .1,.41 .24,.24"), paint)
    pen.blob(path("-.5,.1 -.49,.22 -.4,.26 0,.27 .26,.26 .44,.22 .5,.14 .49,.08 0,.06 -.46,.06"), paint)
    pen.polygon(path("-.245,.26 -.18,.365 -.04,.39 -.04,.26"), GLASS, outline=False)
    pen.polygon(path("-.01,.26 -.01,.39 .08,.38 .19,.26"), GLASS, outline=False)
    pen.polygon(path(".03,.26 .08,.38 .1,.365 .07,.26"), (232, 246, 250), outline=False)
    pen.polygon(path("-.49,.12 .49,.12 .47,.07 -.46,.07"), dark, outline=False)
    pen.limb(path("-.08,.21 -.03,.21"), 0.016, dark, outline=False)
    pen.ellipse(0.465, 0.18, 0.022, 0.03, (255, 240, 180), outline=False)
    pen.ellipse(-0.48, 0.19, 0.016, 0.03, (236, 70, 60), outline=False)
    for x in (-0.28, 0.28):
        _wheel(pen, x, 0.092)


def draw_bus(pen: Pen, colour: str) -> None:
    """1 unit long."""
    paint = PAINT[colour]
    pen.blob(path("-.5,.08 -.5,.26 -.49,.46 -.4,.49 .4,.49 .48,.46 .5,.3 .5,.08 0,.07"), paint)
    pen.rectangle(-0.495, 0.185, 0.99, 0.035, shade(paint, 0.6 if colour != "white" else -0.4), outline=False)
    pen.rectangle(-0.495, 0.075, 0.99, 0.035, shade(paint, -0.28), outline=False)
    for k in range(4):
        pen.rectangle(-0.46 + k * 0.17, 0.265, 0.14, 0.145, GLASS, outline=False)
        pen.polygon(
            [
                (-0.41 + k * 0.17, 0.265),
                (-0.36 + k * 0.17, 0.41),
                (-0.325 + k * 0.17, 0.41),
                (-0.375 + k * 0.17, 0.265),
            ],
            (224, 242, 248),
            outline=False,
        )
    pen.rectangle(0.24, 0.11, 0.10, 0.30, GLASS_DARK, outline=False)
    pen.limb(path(".29,.11 .29,.41"), 0.012, shade(paint, -0.2), outline=False)
    pen.polygon(path(".38,.25 .38,.41 .475,.41 .49,.25"), GLASS, outline=False)
    pen.ellipse(0.485, 0.15, 0.018, 0.026, (255, 240, 180), outline=False)
    for x in (-0.29, 0.17):
        _wheel(pen, x, 0.082)


def draw_truck(pen: Pen, colour: str) -> None:
    """A lorry: cab and box in one colour, 1 unit long."""
    paint = PAINT[colour]
    pen.rectangle(-0.48, 0.07, 0.96, 0.06, (72, 74, 86))
    pen.polygon(path("-.5,.13 -.5,.52 .18,.52 .18,.13"), paint)
    for k in range(5):
        pen.limb(
            [(-0.40 + k * 0.12, 0.17), (-0.40 + k * 0.12, 0.48)], 0.010, shade(paint, -0.2), outline=False
        )
    pen.polygon(path(".2,.08 .2,.42 .36,.42 .46,.26 .5,.22 .5,.08"), shade(paint, -0.12))
    pen.polygon(path(".24,.25 .24,.38 .345,.38 .425,.25"), GLASS, outline=False)
    pen.ellipse(0.485, 0.15, 0.018, 0.026, (255, 240, 180), outline=False)
    for x in (-0.36, -0.14, 0.34):
        _wheel(pen, x, 0.082)


def draw_bicycle(pen: Pen, colour: str) -> None:
    """1 unit from wheel to wheel; saddle at (-0.12, 0.52), handlebar (0.24, 0.60), pedals near (0, 0.2)."""
    paint = PAINT[colour]
    for x in (-0.29, 0.29):
        _ring(pen, x, 0.21, 0.21, 0.03)
        for k in range(6):
            a = math.pi * k / 6
            pen.limb(
                [
                    (x - 0.19 * math.cos(a), 0.21 - 0.19 * math.sin(a)),
                    (x + 0.19 * math.cos(a), 0.21 + 0.19 * math.sin(a)),
                ],
                0.006,
                (170, 172, 182),
                outline=False,
            )
    w = 0.034
    for line in (
        path("-.29,.21 0,.2 .2,.48 -.1,.45 -.29,.21"),
        path("-.12,.5 0,.2"),
        path(".22,.58 .2,.48 .29,.21"),
    ):
        pen.limb(line, w, paint)
    pen.limb(path(".21,.58 .28,.6"), 0.03, TYRE)
    pen.limb(path("-.19,.525 -.05,.515"), [0.055, 0.035], TYRE)
    pen.ellipse(0.0, 0.20, 0.045, colour=(120, 122, 132))


def _ring(pen: Pen, x: float, y: float, r: float, width: float) -> None:
    n = 20
    for k in range(n):
        a, b = 2 * math.pi * k / n, 2 * math.pi * (k + 1) / n
        pen.polygon(
            [
                (x + r * math.cos(a), y + r * math.sin(a)),
                (x + r * math.cos(b), y + r * math.sin(b)),
                (x + (r - width) * math.cos(b), y + (r - width) * math.sin(b)),
                (x + (r - width) * math.cos(a), y + (r - width) * math.sin(a)),
            ],
            TYRE,
        )


def draw_sailboat(pen: Pen, colour: str) -> None:
    """A boat with hull and main sail of one colour, 1 unit long, waterline at y = 0."""
    sail = PAINT[colour]
    pen.limb(path("0,.1 0,1.12"), 0.026, (112, 78, 56))
    pen.blob(path("-.03,1.02 -.03,.26 -.38,.26 -.27,.5 -.14,.8"), (250, 244, 230), steps=3)
    pen.polygon(path(".03,1.08 .03,.24 .48,.24 .4,.5 .24,.82"), sail)
    pen.polygon(path(".03,.4 .03,.24 .48,.24 .45,.34"), shade(sail, -0.14), outline=False)
    pen.blob(path("-.48,.17 -.5,.19 -.36,-.05 0,-.08 .36,-.05 .52,.2 .48,.18"), shade(sail, -0.08))
    pen.limb(
        path("-.45,.155 .47,.165"),
        0.03,
        (250, 244, 230) if colour != "white" else (60, 90, 150),
        outline=False,
    )
    pen.polygon(path("0,1.12 0,1.19 -.12,1.155"), sail)


def draw_rowboat(pen: Pen, colour: str) -> None:
    """An open boat, 1 unit long, waterline at y = 0."""
    paint = PAINT[colour]
    pen.blob(path("-.52,.22 -.42,-.04 0,-.08 .42,-.04 .54,.24 .46,.2 0,.155 -.44,.19"), paint)
    pen.curve(path("-.49,.19 0,.145 .5,.205"), 0.03, shade(paint, -0.35), outline=False)


def draw_balloon_ship(pen: Pen, colour: str) -> None:
    """A hot air balloon, 1 unit wide; basket at the bottom, y = 0."""
    paint, other = PAINT[colour], shade(PAINT[colour], 0.42)
    pen.limb(path("-.09,.14 -.24,.42"), 0.014, (90, 66, 52))
    pen.limb(path(".09,.14 .24,.42"), 0.014, (90, 66, 52))
    pen.limb(path("0,.14 0,.42"), 0.014, (90, 66, 52))
    outline = path("-.5,.86 -.44,.62 -.2,.36 .2,.36 .44,.62 .5,.86 .38,1.18 0,1.34 -.38,1.18")
    pen.blob(outline, paint)
    for k in (0.62, 0.2):
        points = [(x * k, y) for x, y in outline]
        pen.blob(points, other if k == 0.62 else paint, outline=False)
    pen.polygon(path("-.11,.16 .11,.16 .09,0 -.09,0"), (160, 106, 62))
    pen.limb(path("-.115,.155 .115,.155"), 0.03, (120, 76, 46))
