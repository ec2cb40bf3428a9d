"""The light of the scenes: skies, water and what day, sunset, night and rain do to colours."""

from __future__ import annotations

from collections.abc import Callable

from scenes.drawing.pen import Colour, Pen, mix, path

SKIES = {  # each time has a few, from the top of the sky down
    "day": (
        ((88, 170, 232), (150, 210, 244), (226, 242, 246)),
        ((64, 152, 226), (130, 200, 244), (240, 246, 232)),
        ((96, 190, 228), (168, 224, 236), (250, 246, 228)),
    ),
    "sunset": (
        ((92, 78, 150), (226, 112, 120), (252, 178, 104), (255, 222, 150)),
        ((120, 86, 158), (238, 130, 116), (255, 198, 118), (255, 232, 170)),
        ((70, 84, 150), (196, 110, 150), (250, 160, 120), (255, 210, 150)),
    ),
    "night": (((16, 20, 56), (32, 42, 96), (70, 84, 146)), ((22, 18, 62), (48, 38, 104), (96, 80, 150))),
    "rain": (((104, 118, 138), (142, 156, 172), (184, 194, 202)),),
}
TINTS = {"sunset": ((255, 136, 84), 0.16), "rain": ((96, 112, 136), 0.24)}


CLEAR = 0.22  # how far the light reaches those who act: their colours stay clear


def tinted(colour: Colour, time: str) -> Colour:
    """A daylight colour as it looks at `time`."""
    if time == "night":
        r, g, b = colour[:3]
        return round(r * 0.42 + 8), round(g * 0.46 + 14), round(b * 0.60 + 36)
    return mix(colour, *TINTS[time]) if time in TINTS else colour


def tone(time: str, strength: float) -> Callable[[Colour], Colour] | None:
    """What `time` does to a figure's colours, from 0 (nothing) to 1 (as `tinted`); None by day."""
    return None if time == "day" else lambda colour: mix(colour, tinted(colour, time), strength)


def draw_sky(page: Pen, time: str, rng, horizon: float) -> None:
    """Sky, sun or moon, clouds or stars, from the top down to `horizon`."""
    page.gradient(0.0, horizon, SKIES[time][int(rng.integers(len(SKIES[time])))])
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
    cloud = {
        "day": (255, 255, 255, 235),
        "sunset": (255, 206, 172, 170),
        "night": (92, 104, 160, 120),
        "rain": (112, 124, 142, 225),
    }[time]
    for _ in range(3 if time == "rain" else int(rng.integers(1, 4))):
        _cloud(
            page,
            float(rng.uniform(0.0, 1.0)),
            float(rng.uniform(0.06, 0.28)),
            float(rng.uniform(0.09, 0.15)),
            cloud,
        )


def _cloud(page: Pen, x: float, y: float, size: float, colour: Colour) -> None:
    points = path("-1.1,0 -1,-.22 -.68,-.26 -.5,-.52 -.1,-.58 .12,-.38 .42,-.5 .72,-.26 1,-.22 1.1,0")
    page.blob([(x + u * size, y + v * size) for u, v in points], colour)


def draw_water(page: Pen, time: str, rng, top: float, bottom: float) -> None:
    """Water with glints between two heights."""
    colours = {
        "day": ((120, 198, 226), (52, 142, 204), (34, 112, 184)),
        "sunset": ((252, 190, 130), (206, 120, 140), (96, 84, 150)),
        "night": ((64, 84, 146), (30, 48, 108), (20, 30, 80)),
        "rain": ((136, 156, 170), (96, 122, 142), (74, 100, 124)),
    }[time]
    page.gradient(top, bottom, colours)
    light = {
        "day": (226, 246, 252, 150),
        "sunset": (255, 232, 180, 150),
        "night": (170, 186, 230, 90),
        "rain": (206, 218, 226, 110),
    }[time]
    for _ in range(26):
        y = top + (bottom - top) * float(rng.random()) ** 1.3
        x, w = float(rng.random()), 0.02 + 0.07 * (y - top) / (bottom - top)
        page.ellipse(x, y, w, 0.0035, light)
