"""A pen over an image three times too large: shapes in local units, an ink outline round whole figures.

PIL's shapes have hard edges; every scene is drawn at `SUPERSAMPLE` times its size and averaged down, which
makes them smooth. On the page x runs right and y down, both 0 to 1. A figure's pen (`Pen.figure`) has its
origin where the figure stands, y up and 1 unit = the figure's own size, so that a body or a car is written
down once, whatever its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from functools import cache

from PIL import Image, ImageDraw

SUPERSAMPLE = 3
Point = tuple[float, float]
Colour = tuple[int, ...]  # RGB, or RGBA for what is drawn straight onto the page

INK = (38, 32, 48)
_CIRCLE = [(math.cos(2 * math.pi * k / 28), math.sin(2 * math.pi * k / 28)) for k in range(28)]


def shade(colour: Colour, amount: float) -> Colour:
    """Mix with white (amount > 0) or a dark violet (amount < 0); |amount| in 0..1."""
    target = (255, 252, 244) if amount > 0 else (28, 20, 50)
    k = abs(amount)
    return tuple(round(c + (t - c) * k) for c, t in zip(colour[:3], target, strict=True))


def mix(a: Colour, b: Colour, k: float) -> Colour:
    """The colour a share `k` of the way from `a` to `b`."""
    return tuple(round(p + (q - p) * k) for p, q in zip(a[:3], b[:3], strict=True))


@cache
def path(text: str) -> tuple[Point, ...]:
    """Points written as in SVG: "x,y x,y ..."."""
    return tuple((float(x), float(y)) for x, y in (pair.split(",") for pair in text.split()))


class Pen:
    """Draws polygons, ellipses, limbs through an affine map; holds a figure's shapes back until `finish`."""

    def __init__(self, image: Image.Image):
        self.image = image
        self.draw = ImageDraw.Draw(image, "RGBA")
        width = image.width
        self.matrix = (width, 0.0, 0.0, 0.0, width, 0.0)  # x' = a x + b y + c ; y' = d x + e y + f
        self.held: list | None = None  # a figure's shapes so far; the page draws at once
        self.tone: Callable[[Colour], Colour] | None = None  # how the light changes the colours of figures

    def figure(self, x: float, y: float, scale: float, flip: bool = False, angle: float = 0.0) -> Pen:
        """A pen whose origin is (x, y), y up, 1 unit = `scale` of ours; `angle` in degrees, anticlockwise."""
        turn = math.radians(angle)
        cos, sin = math.cos(turn) * scale, math.sin(turn) * scale
        up = -1.0 if self.held is None else 1.0  # the page's y runs down, a figure's up
        mirror = -1.0 if flip else 1.0
        return self._inner((cos * mirror, -sin * mirror, x, up * sin, up * cos, y))

    def _inner(self, local: tuple[float, ...]) -> Pen:
        a, b, c, d, e, f = self.matrix
        p, q, r, s, t, u = local
        matrix = (
            a * p + b * s, a * q + b * t, a * r + b * u + c, d * p + e * s, d * q + e * t, d * r + e * u + f,
        )  # fmt: skip
        pen = copy(self)
        pen.matrix, pen.held = matrix, [] if self.held is None else self.held
        return pen

    def finish(self, ink: Colour = INK, width: float = 0.0055, waterline: float | None = None) -> None:
        """Put a figure's shapes on the page: first one outline round them all, then the fills.

        What lies below `waterline` (the page's y) is left out.
        """
        stroke = max(1, round(width * self.image.width))
        held = self.held
        if waterline is not None:
            held = [
                (_above(points, waterline * self.image.width), colour, line) for points, colour, line in held
            ]
            held = [shape for shape in held if len(shape[0]) > 2]
        for points, _, outlined in held:
            if outlined:
                self.draw.line([*points, points[0], points[1]], fill=ink, width=stroke)
        for points, colour, _ in held:
            self.draw.polygon(points, fill=self.tone(colour) if self.tone else colour)
        self.held.clear()

    def polygon(self, points: Sequence[Point], colour: Colour, outline: bool = True) -> None:
        """A filled polygon. `outline=False` keeps details (windows, eyes) out of the figure's ink line."""
        a, b, c, d, e, f = self.matrix
        placed = [(a * x + b * y + c, d * x + e * y + f) for x, y in points]
        if self.held is None:
            self.draw.polygon(placed, fill=colour)
        else:
            self.held.append((placed, colour, outline))

    def ellipse(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float | None = None,
        colour: Colour = INK,
        angle: float = 0.0,
        outline: bool = True,
    ) -> None:
        """An ellipse round (x, y); `angle` in degrees."""
        ry = rx if ry is None else ry
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        self.polygon(
            [(x + u * rx * cos - v * ry * sin, y + u * rx * sin + v * ry * cos) for u, v in _CIRCLE],
            colour,
            outline,
        )

    def blob(self, points: Sequence[Point], colour: Colour, outline: bool = True, steps: int = 5) -> None:
        """A closed smooth curve through `points` (Catmull-Rom)."""
        self.polygon(smooth([points[-1], *points, points[0], points[1]], steps), colour, outline)

    def limb(
        self, points: Sequence[Point], widths: Sequence[float] | float, colour: Colour, outline: bool = True
    ) -> None:
        """A round-ended stroke along `points`, of one width or one width a point."""
        radii = [w / 2 for w in widths] if isinstance(widths, Sequence) else [widths / 2] * len(points)
        for (x0, y0), (x1, y1), r0, r1 in zip(points, points[1:], radii, radii[1:], strict=False):
            length = math.hypot(x1 - x0, y1 - y0) or 1e-9
            nx, ny = (y0 - y1) / length, (x1 - x0) / length
            self.polygon(
                [
                    (x0 + nx * r0, y0 + ny * r0),
                    (x1 + nx * r1, y1 + ny * r1),
                    (x1 - nx * r1, y1 - ny * r1),
                    (x0 - nx * r0, y0 - ny * r0),
                ],
                colour,
                outline,
            )
        for (x, y), r in zip(points, radii, strict=True):
            self.ellipse(x, y, r, colour=colour, outline=outline)

    def curve(self, points: Sequence[Point], width: float, colour: Colour, outline: bool = True) -> None:
        """A smooth thin stroke through `points`: strings, tails, smiles."""
        self.limb(smooth([points[0], *points, points[-1]], 5), width, colour, outline)

    def rectangle(
        self, x: float, y: float, width: float, height: float, colour: Colour, outline: bool = True
    ) -> None:
        """An upright rectangle from corner (x, y)."""
        self.polygon([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], colour, outline)

    def gradient(self, top: float, bottom: float, colours: Sequence[Colour]) -> None:
        """Fills the page's rows from `top` to `bottom` (0..1), blended downwards. Page pens only."""
        width, height = self.image.size
        y0, y1 = round(top * height), round(bottom * height)
        strip = Image.new("RGB", (1, len(colours)))
        strip.putdata([tuple(c[:3]) for c in colours])
        reach = (y1 - y0) / (len(colours) - 1) if len(colours) > 1 else 1
        box = (0, 0.5, 1, len(colours) - 0.5) if reach and len(colours) > 1 else None
        column = strip.resize((1, max(1, y1 - y0)), Image.Resampling.BILINEAR, box=box)
        self.image.paste(column.resize((width, max(1, y1 - y0))), (0, y0))


def smooth(points: Sequence[Point], steps: int) -> list[Point]:
    """Points along the Catmull-Rom curve from points[1] to points[-2]."""
    curve = []
    for (x0, y0), (x1, y1), (x2, y2), (x3, y3) in zip(
        points, points[1:], points[2:], points[3:], strict=False
    ):
        for k in range(steps):
            t = k / steps
            a, b = -0.5 * t + t * t - 0.5 * t**3, 1 - 2.5 * t * t + 1.5 * t**3
            c, d = 0.5 * t + 2 * t * t - 1.5 * t**3, -0.5 * t * t + 0.5 * t**3
            curve.append((a * x0 + b * x1 + c * x2 + d * x3, a * y0 + b * y1 + c * y2 + d * y3))
    curve.append(points[-2])
    return curve


def _above(points: Sequence[Point], limit: float) -> list[Point]:
    """The part of a polygon with y <= limit (Sutherland and Hodgman, 1974)."""
    kept = []
    for (x0, y0), (x1, y1) in zip([points[-1], *points], points, strict=False):
        if (y0 <= limit) != (y1 <= limit):
            kept.append((x0 + (x1 - x0) * (limit - y0) / (y1 - y0), limit))
        if y1 <= limit:
            kept.append((x1, y1))
    return kept
