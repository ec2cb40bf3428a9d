"""What people hold, ride or stand by: balls, umbrellas, kites, balloons, boards, benches, trees."""

from __future__ import annotations

import math

from scenes.drawing.palette import PAINT
from scenes.drawing.pen import Colour, Pen, Point, mix, path, shade

WOOD, WOOD_DARK = (160, 106, 64), (112, 72, 48)


def draw_ball(pen: Pen, x: float, y: float, r: float, colour: str) -> None:
    """A ball round (x, y) with two pale panels."""
    paint = PAINT[colour]
    pen.ellipse(x, y, r, colour=paint)
    band = shade(paint, 0.7) if colour != "white" else (70, 70, 84)
    pen.ellipse(x + r * 0.1, y, r * 0.34, r * 0.98, band, angle=24, outline=False)
    pen.ellipse(x + r * 0.1, y, r * 0.10, r * 0.96, paint, angle=24, outline=False)
    pen.ellipse(x - r * 0.36, y + r * 0.40, r * 0.2, r * 0.13, shade(paint, 0.75), angle=35, outline=False)


def draw_umbrella(pen: Pen, hand: Point, reach: float, colour: str) -> None:
    """An open umbrella whose handle is in `hand`; the canopy is 2 * `reach` wide."""
    paint = PAINT[colour]
    x, y = hand[0], hand[1] + reach * 1.0
    pen.limb([(hand[0], hand[1] - reach * 0.12), (x, y)], reach * 0.055, (84, 62, 54))
    canopy = [
        (x + reach * math.cos(math.pi * k / 14), y + reach * 0.72 * math.sin(math.pi * k / 14))
        for k in range(15)
    ]
    scallop = []
    for k in range(4):
        left = x - reach + k * reach / 2
        scallop += [
            (left + reach / 2 * t, y + reach * 0.12 * math.sin(math.pi * t)) for t in (0.0, 0.25, 0.5, 0.75)
        ]
    pen.polygon(canopy + scallop, paint)
    pen.polygon(
        [
            canopy[14],
            *scallop[1:4],
            scallop[4],
            (x - reach * 0.22, y + reach * 0.52),
            (x, y + reach * 0.72),
            *canopy[8:14],
        ],
        shade(paint, -0.16),
        outline=False,
    )
    pen.polygon(
        [
            scallop[8],
            *scallop[9:12],
            scallop[12],
            (x + reach * 0.34, y + reach * 0.46),
            (x, y + reach * 0.72),
        ],
        shade(paint, 0.24),
        outline=False,
    )
    pen.limb([(x, y + reach * 0.72), (x, y + reach * 0.84)], reach * 0.05, (84, 62, 54))


def draw_kite(pen: Pen, colour: str) -> None:
    """A diamond kite with a tail, about 2 units tall; its string is tied at the origin."""
    paint, pale = PAINT[colour], shade(PAINT[colour], 0.5)
    pen.curve(path("-.4,-.85 -.66,-1.02 -.6,-1.32 -.86,-1.55"), 0.07, paint)
    for x, y in path("-.66,-1.02 -.6,-1.32 -.86,-1.55"):
        pen.polygon([(x, y), (x - 0.2, y + 0.12), (x - 0.16, y - 0.11)], pale)
        pen.polygon([(x, y), (x + 0.2, y - 0.08), (x + 0.14, y + 0.15)], pale)
    top, right, bottom, left = path(".3,.75 .55,-.1 -.4,-.85 -.55,.32")
    pen.polygon([top, right, bottom, left], paint)
    pen.polygon([top, right, (0, 0)], pale, outline=False)
    pen.polygon([left, bottom, (0, 0)], pale, outline=False)
    for end in (top, right, bottom, left):
        pen.limb([(0, 0), end], 0.035, shade(paint, -0.3), outline=False)


def draw_balloons(pen: Pen, hand: Point, size: float, colours: list[str]) -> None:
    """A bunch of balloons on strings from `hand`; `size` is a balloon's radius."""
    places = {1: path(".15,3.4"), 2: path("-.75,3.2 .75,3.6"), 3: path("-1.15,3 1.15,3.2 0,4.4")}[
        len(colours)
    ]
    for u, v in places:
        pen.curve(
            [
                hand,
                (hand[0] + u * size * 0.5, hand[1] + v * size * 0.45),
                (hand[0] + u * size, hand[1] + (v - 1) * size),
            ],
            size * 0.06,
            (240, 240, 244),
            outline=False,
        )
    for (u, v), colour in zip(places, colours, strict=True):
        x, y, paint = hand[0] + u * size, hand[1] + v * size, PAINT[colour]
        pen.polygon(
            [(x, y - size), (x - size * 0.16, y - size * 1.28), (x + size * 0.16, y - size * 1.28)],
            shade(paint, -0.2),
        )
        pen.blob(
            [
                (x, y + size * 1.1),
                (x + size * 0.92, y + size * 0.35),
                (x + size * 0.55, y - size * 0.7),
                (x, y - size * 1.1),
                (x - size * 0.55, y - size * 0.7),
                (x - size * 0.92, y + size * 0.35),
            ],
            paint,
        )
        pen.ellipse(
            x - size * 0.36,
            y + size * 0.5,
            size * 0.16,
            size * 0.28,
            shade(paint, 0.65),
            angle=-25,
            outline=False,
        )


def draw_bench(pen: Pen, width: float = 0.8) -> None:
    """A park bench seen from the front, in an adult's units: seat at 0.25, back up to 0.5."""
    end = width / 2
    for x in (-end + 0.07, end - 0.07):
        pen.limb([(x, 0.0), (x, 0.24)], 0.042, (70, 72, 84))
        pen.limb([(x, 0.24), (x, 0.5)], 0.034, (70, 72, 84))
    for k in range(3):
        pen.limb([(-end, 0.335 + k * 0.075), (end, 0.335 + k * 0.075)], 0.052, shade(WOOD, 0.07 * k))
    pen.limb([(-end - 0.01, 0.245), (end + 0.01, 0.245)], 0.06, shade(WOOD, 0.24))
    pen.limb([(-end - 0.01, 0.212), (end + 0.01, 0.212)], 0.028, WOOD_DARK)


def draw_sleep(pen: Pen) -> None:
    """The three Zs over whoever sleeps, 1 unit tall."""
    for x, y, s in ((0.0, 0.0, 0.24), (0.28, 0.3, 0.31), (0.62, 0.68, 0.4)):
        pen.limb([(x, y + s), (x + s * 0.8, y + s), (x, y), (x + s * 0.8, y)], 0.085, (255, 255, 255))


def draw_board(
    pen: Pen, start: Point, end: Point, width: float, colour: Colour, wheels: bool = False
) -> None:
    """A skate-, surf- or snowboard, or a ski, from `start` to `end`."""
    pen.limb([start, end], width, colour)
    pen.limb(
        [
            (start[0] * 0.8 + end[0] * 0.2, start[1] * 0.8 + end[1] * 0.2 + width * 0.12),
            (start[0] * 0.3 + end[0] * 0.7, start[1] * 0.3 + end[1] * 0.7 + width * 0.12),
        ],
        width * 0.28,
        shade(colour, 0.5),
        outline=False,
    )
    if wheels:
        for k in (0.2, 0.8):
            pen.ellipse(
                start[0] + (end[0] - start[0]) * k,
                start[1] + (end[1] - start[1]) * k - width * 0.95,
                width * 0.62,
                colour=(58, 54, 64),
            )


def draw_sled(pen: Pen, colour: str) -> None:
    """A sled 1 unit long, seat at 0.24."""
    paint = PAINT[colour]
    pen.curve(path("-.5,.03 0,.025 .4,.03 .54,.12 .52,.24"), 0.045, (110, 74, 52))
    for x in (-0.3, 0.1, 0.32):
        pen.limb([(x, 0.03), (x, 0.2)], 0.035, (110, 74, 52))
    pen.limb(path("-.48,.21 .44,.21"), 0.075, paint)


def draw_tree(pen: Pen, leaf: Colour, turn: int = 0) -> None:
    """A round leafy tree, 1 unit tall."""
    pen.polygon(path("-.055,0 -.035,.5 .035,.5 .06,0"), WOOD_DARK)
    pen.limb(path("0,.34 .12,.5"), 0.03, WOOD_DARK)
    shift = (-0.02, 0.02, 0.0)[turn % 3]
    dark, light = shade(leaf, -0.14), shade(leaf, 0.16)
    for x, y, r in (
        (-0.2, 0.58, 0.17),
        (0.2, 0.58, 0.17),
        (0.0, 0.55, 0.18),
        (-0.13 + shift, 0.76, 0.18),
        (0.14 + shift, 0.76, 0.17),
        (0.0 + shift, 0.85, 0.15),
    ):
        pen.ellipse(x, y, r, colour=dark if y < 0.6 else leaf)
    for x, y, r in ((-0.12, 0.66, 0.12), (0.1, 0.68, 0.12)):
        pen.ellipse(x, y, r, colour=leaf, outline=False)
    for x, y, r in ((-0.12, 0.82, 0.09), (0.04, 0.90, 0.07), (-0.22, 0.64, 0.06)):
        pen.ellipse(x, y, r, colour=light, outline=False)


def draw_pine(pen: Pen, leaf: Colour, snow: bool) -> None:
    """A fir tree, 1 unit tall, with snow on its branches or not."""
    pen.rectangle(-0.035, 0.0, 0.07, 0.2, WOOD_DARK)
    for k, (low, high, half) in enumerate(((0.13, 0.55, 0.30), (0.36, 0.78, 0.235), (0.58, 1.0, 0.165))):
        pen.polygon(
            [(-half, low), (-half * 0.4, low + 0.03), (half * 0.45, low - 0.015), (half, low), (0.0, high)],
            shade(leaf, 0.05 * k),
        )
        if snow:
            pen.polygon(
                [
                    (0.0, high),
                    (-half * 0.5, low + (high - low) * 0.5),
                    (-half * 0.2, low + (high - low) * 0.44),
                    (0.03, low + (high - low) * 0.56),
                    (half * 0.3, low + (high - low) * 0.46),
                    (half * 0.5, low + (high - low) * 0.5),
                ],
                (250, 252, 255),
                outline=False,
            )
        else:
            pen.polygon([(0.0, high), (half, low), (half * 0.3, low)], shade(leaf, -0.18), outline=False)


def draw_palm(pen: Pen) -> None:
    """A palm tree, 1 unit tall."""
    trunk = path("0,0 .03,.26 .02,.52 -.03,.78")
    pen.limb(trunk, [0.085, 0.062, 0.052, 0.05], (156, 112, 72))
    for k in range(1, 7):
        t = k / 7 * 0.75
        pen.limb([(0.0 + 0.01 * (k % 2), t), (0.045, t + 0.01)], 0.008, (122, 84, 54), outline=False)
    for angle, reach in ((168, 0.36), (128, 0.33), (60, 0.33), (18, 0.37), (205, 0.30), (-20, 0.31)):
        a = math.radians(angle)
        tip = (-0.03 + reach * math.cos(a), 0.80 + reach * 0.75 * math.sin(a) - 0.07)
        mid = (-0.03 + reach * 0.55 * math.cos(a), 0.84 + reach * 0.62 * math.sin(a))
        green = mix((48, 140, 84), (110, 180, 84), 0.5 + 0.5 * math.sin(a))
        pen.blob([(-0.03, 0.79), mid, tip, (mid[0], mid[1] - 0.085)], green)


def draw_cactus(pen: Pen) -> None:
    """A cactus with two arms, 1 unit tall."""
    green = (76, 146, 92)
    pen.limb(path(".14,.36 .3,.38 .3,.66"), 0.13, shade(green, -0.08))
    pen.limb(path("-.1,.26 -.27,.3 -.27,.54"), 0.13, shade(green, -0.08))
    pen.limb(path("0,.06 0,.9"), 0.22, green)
    for x in (-0.05, 0.03):
        pen.limb([(x, 0.06), (x, 0.92)], 0.018, shade(green, 0.3), outline=False)


def draw_house(pen: Pen, wall: Colour, roof: Colour) -> None:
    """A barn with a white-framed door, 1 unit wide."""
    pen.polygon(path("-.45,0 -.45,.42 0,.74 .45,.42 .45,0"), wall)
    pen.limb(path("-.52,.39 0,.76 .52,.39"), 0.075, roof)
    pen.rectangle(-0.16, 0.0, 0.32, 0.32, (250, 244, 232), outline=False)
    pen.rectangle(-0.13, 0.0, 0.26, 0.29, shade(wall, -0.3), outline=False)
    pen.limb(path("-.12,.01 .12,.28"), 0.025, (250, 244, 232), outline=False)
    pen.limb(path(".12,.01 -.12,.28"), 0.025, (250, 244, 232), outline=False)
    pen.ellipse(0.0, 0.50, 0.07, colour=(250, 244, 232), outline=False)
