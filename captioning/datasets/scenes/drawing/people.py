"""Men, women, boys and girls: clothes, limbs, faces and hair on the skeleton of `bodies`."""

from __future__ import annotations

import math

from captioning.datasets.scenes.drawing.bodies import BODIES, Body, Look, Pose, skeleton
from captioning.datasets.scenes.drawing.pen import Colour, Pen, Point, shade


def draw_person(pen: Pen, who: Look, pose: Pose, seat: float | None = None, between=None) -> dict[str, Point]:
    """Draw one person; `between(joints)` draws what is held, after the body and before the near arm.

    Returns the joints, in the pen's units, for what is tied to them.
    """
    body = BODIES[who.kind]
    at = skeleton(body, pose, seat)
    sleeve = who.colour if who.wear in ("shirt", "jacket") else who.skin
    _arm(pen, who, body, at, "far", shade(sleeve, -0.16), shade(who.skin, -0.10))
    _leg(pen, who, body, at, pose, "far", -0.16)
    _leg(pen, who, body, at, pose, "near", 0.0)
    if who.kind in ("woman", "girl"):
        _back_hair(pen, who, body, at, pose)
    _torso(pen, who, body, at, pose)
    _head(pen, who, body, at, pose)
    if between is not None:
        between(at)
    _arm(pen, who, body, at, "near", shade(sleeve, 0.06), who.skin)
    return at


def _arm(pen: Pen, who: Look, body: Body, at: dict[str, Point], side: str, sleeve: Colour, skin: Colour) -> None:
    shoulder, elbow, hand = at[f"shoulder_{side}"], at[f"elbow_{side}"], at[f"hand_{side}"]
    w = body.limb
    if who.wear == "jacket":
        pen.limb([shoulder, elbow, hand], [w * 1.2, w * 1.1, w], sleeve)
        pen.ellipse(*hand, w * 0.55, colour=shade(who.legs, -0.2))
        return
    pen.limb([shoulder, elbow, hand], [w, w * 0.9, w * 0.72], skin)
    pen.ellipse(*hand, w * 0.5, colour=skin)
    if sleeve != skin and who.wear == "shirt":
        k = 0.62 if who.kind != "man" else 0.75
        cuff = (shoulder[0] + (elbow[0] - shoulder[0]) * k, shoulder[1] + (elbow[1] - shoulder[1]) * k)
        pen.limb([shoulder, cuff], [w * 1.25, w * 1.2], sleeve)


def _leg(pen: Pen, who: Look, body: Body, at: dict[str, Point], pose: Pose, side: str, dim: float) -> None:
    top, knee, foot = at[f"top_{side}"], at[f"knee_{side}"], at[f"foot_{side}"]
    w = body.limb * 1.45
    bare = who.wear in ("dress", "swimsuit")
    skin, cloth = shade(who.skin, dim * 0.7) if dim else who.skin, shade(who.legs, dim) if dim else who.legs
    lower = skin if bare or (who.kind in ("boy", "girl") and who.wear != "jacket") else cloth
    pen.limb([knee, foot], [w * 0.86, w * 0.62], lower)
    pen.limb([top, knee], [w * 1.08, w * 0.92], skin if bare else cloth)
    if who.wear == "swimsuit":
        return
    down = math.atan2(foot[0] - knee[0], knee[1] - foot[1])  # the foot is square to the shin, never steeper than 50
    tilt = max(-0.9, min(0.9, down))
    ahead = 0.0 if pose.front else 1.0
    sign = (1.0 if side == "near" else -1.0) if pose.front else 1.0
    tip = (foot[0] + sign * math.cos(tilt) * (0.034 + 0.026 * ahead), foot[1] + sign * math.sin(tilt) * 0.05 * ahead)
    pen.limb(
        [(foot[0], foot[1] - 0.004), (tip[0], tip[1] - 0.008)],
        [w * 0.66, w * 0.5],
        shade(who.shoes, dim) if dim else who.shoes,
    )


def _torso(pen: Pen, who: Look, body: Body, at: dict[str, Point], pose: Pose) -> None:
    hip = at["hip"]
    wide = body.girth if pose.front else body.girth * 0.8
    waist = wide * (0.86 if who.kind in ("man", "boy") else 0.72)
    axis = (math.sin(math.radians(pose.lean)), math.cos(math.radians(pose.lean)))
    across = (axis[1], -axis[0])

    def place(u: float, v: float) -> Point:  # u across, v along the spine from the hip
        return hip[0] + across[0] * u + axis[0] * v, hip[1] + across[1] * u + axis[1] * v

    t = body.torso
    pen.limb([place(0, t), (at["head"][0], at["head"][1] - body.head * 0.4)], body.limb * 1.05, shade(who.skin, -0.10))
    low = -0.045 if who.wear == "jacket" else -0.02
    pen.blob(
        [
            place(-wide, t * 0.86),
            place(-wide * 0.55, t * 1.0),
            place(wide * 0.55, t * 1.0),
            place(wide, t * 0.86),
            place(waist, t * 0.4),
            place(waist * 1.06, low),
            place(-waist * 1.06, low),
            place(-waist, t * 0.4),
        ],
        who.colour,
    )
    shadow = shade(who.colour, -0.16)
    pen.blob(
        [
            place(-wide * 0.98, t * 0.82),
            place(-wide * 0.62, t * 0.9),
            place(-waist * 0.5, t * 0.4),
            place(-waist * 0.55, low),
            place(-waist * 1.02, low),
            place(-waist * 0.97, t * 0.4),
        ],
        shadow,
        outline=False,
    )
    if who.wear == "dress":
        left = min(at["knee_near"][0], at["knee_far"][0], hip[0] - waist)
        right = max(at["knee_near"][0], at["knee_far"][0], hip[0] + waist)
        hem = (at["knee_near"][1] + at["knee_far"][1]) / 2 + 0.03
        flare = 0.055
        points = [
            place(-waist * 0.95, t * 0.36),
            place(waist * 0.95, t * 0.36),
            (right + flare, hem + 0.008),
            ((left + right) / 2 + 0.05, hem - 0.016),
            ((left + right) / 2 - 0.05, hem - 0.014),
            (left - flare, hem + 0.008),
        ]
        pen.polygon(points, who.colour)
        pen.polygon(
            [
                points[0],
                place(-waist * 0.3, t * 0.36),
                ((left + right) / 2 - 0.03, hem - 0.016),
                points[-2],
                points[-1],
            ],
            shadow,
            outline=False,
        )
        pen.limb(
            [place(-waist * 0.92, t * 0.37), place(waist * 0.92, t * 0.37)],
            0.02,
            shade(who.colour, -0.34),
            outline=False,
        )
    if who.wear == "jacket":
        pen.limb(
            [place(wide * 0.1, t * 0.9), place(wide * 0.1, low + 0.01)], 0.010, shade(who.colour, -0.42), outline=False
        )


def _back_hair(pen: Pen, who: Look, body: Body, at: dict[str, Point], pose: Pose) -> None:
    """Long hair that falls behind the neck; a girl's bunches or pony tail."""
    (x, y), r = at["head"], body.head
    dark = shade(who.hair, -0.12)
    if who.kind == "girl":
        if pose.front:
            for sign in (-1, 1):
                pen.blob(
                    [
                        (x + sign * r * 0.8, y + r * 0.25),
                        (x + sign * r * 1.55, y + r * 0.45),
                        (x + sign * r * 1.75, y - r * 0.4),
                        (x + sign * r * 1.4, y - r * 1.15),
                        (x + sign * r * 1.2, y - r * 0.4),
                    ],
                    who.hair,
                )
        else:
            swing = 0.5 if pose.lean > 8 else 0.0
            pen.blob(
                [
                    (x - r * 0.7, y + r * 0.5),
                    (x - r * 1.35, y + r * 0.65),
                    (x - r * (1.8 + swing), y - r * 0.1),
                    (x - r * (1.75 + swing), y - r * (1.15 - swing)),
                    (x - r * 1.25, y - r * 0.3),
                ],
                who.hair,
            )
        return
    swing = r * 0.5 if pose.lean > 8 else 0.0
    back = -r * 0.25 if not pose.front else 0.0
    pen.blob(
        [
            (x - r * 0.95 + back, y + r * 0.5),
            (x - r * 1.15 + back, y - r * 0.4),
            (x - r * 1.05 + back - swing, y - r * 1.55),
            (x + back - swing, y - r * 1.7),
            (x + r * (1.05 if pose.front else 0.35) + back, y - r * 1.45),
            (x + r * 1.1 + back, y - r * 0.3),
            (x + r * 0.6, y + r * 0.7),
        ],
        dark,
    )


def _head(pen: Pen, who: Look, body: Body, at: dict[str, Point], pose: Pose) -> None:
    (x, y), r = at["head"], body.head
    if not pose.front:
        pen.ellipse(x + r * 0.94, y - r * 0.12, r * 0.16, r * 0.14, who.skin)  # nose
    pen.ellipse(x, y, r * 0.96, r, who.skin)
    eye = (44, 32, 40)
    if pose.front:
        for sign in (-1, 1):
            pen.ellipse(x + sign * r * 0.36, y - r * 0.06, r * 0.11, r * 0.14, eye, outline=False)
            pen.ellipse(
                x + sign * r * 0.55,
                y - r * 0.36,
                r * 0.17,
                r * 0.12,
                _blush(who.skin),
                outline=False,
            )
        pen.curve(
            [(x - r * 0.26, y - r * 0.45), (x, y - r * 0.57), (x + r * 0.26, y - r * 0.45)],
            r * 0.09,
            (150, 54, 54),
            outline=False,
        )
    else:
        pen.ellipse(x + r * 0.52, y + r * 0.02, r * 0.11, r * 0.15, eye, outline=False)
        pen.ellipse(x + r * 0.34, y - r * 0.34, r * 0.18, r * 0.12, _blush(who.skin), outline=False)
        pen.curve(
            [(x + r * 0.42, y - r * 0.5), (x + r * 0.56, y - r * 0.55), (x + r * 0.7, y - r * 0.46)],
            r * 0.09,
            (150, 54, 54),
            outline=False,
        )
        pen.ellipse(x - r * 0.22, y - r * 0.08, r * 0.16, r * 0.2, shade(who.skin, -0.12), outline=False)  # ear
    _hair(pen, who, x, y, r, pose.front)


def _blush(skin: Colour) -> Colour:
    return tuple(round(s * 0.72 + b * 0.28) for s, b in zip(skin, (236, 96, 96), strict=True))


def _hair(pen: Pen, who: Look, x: float, y: float, r: float, front: bool) -> None:
    if who.wear == "jacket":  # a woollen hat, with a bobble
        hat = shade(who.colour, -0.25)
        pen.blob(
            [
                (x - r * 1.02, y + r * 0.3),
                (x - r * 0.9, y + r * 0.85),
                (x, y + r * 1.22),
                (x + r * 0.9, y + r * 0.85),
                (x + r * 1.02, y + r * 0.3),
            ],
            hat,
        )
        pen.limb([(x - r * 0.96, y + r * 0.32), (x + r * 0.96, y + r * 0.32)], r * 0.3, shade(who.colour, 0.45))
        pen.ellipse(x, y + r * 1.28, r * 0.26, colour=shade(who.colour, 0.45))
        return
    lean = 0.0 if front else -0.12
    if who.trait == "cap":  # a cap
        cap = shade(who.colour, -0.2)
        pen.blob(
            [
                (x - r * 1.02, y + r * 0.22),
                (x - r * 0.86, y + r * 0.86),
                (x, y + r * 1.16),
                (x + r * 0.86, y + r * 0.86),
                (x + r * 1.02, y + r * 0.26),
            ],
            cap,
        )
        tip = 0.0 if front else r * 0.75
        pen.limb(
            [(x - r * (0.75 if front else 0.1), y + r * 0.28), (x + r * 0.75 + tip, y + r * 0.24)],
            r * 0.2,
            shade(cap, -0.2),
        )
        return
    low = -0.35 if who.kind in ("man", "boy") else -0.1
    crown = 1.14 if who.kind in ("man", "boy") else 1.18
    if front:
        pen.blob(
            [
                (x - r * 1.02, y + low * r * 0.4),
                (x - r * 0.98, y + r * 0.6),
                (x - r * 0.4, y + r * crown),
                (x + r * 0.4, y + r * crown),
                (x + r * 0.98, y + r * 0.6),
                (x + r * 1.02, y + low * r * 0.4),
                (x + r * 0.8, y + r * 0.36),
                (x + r * 0.1, y + r * 0.6),
                (x - r * 0.6, y + r * 0.42),
            ],
            who.hair,
        )
    else:
        pen.blob(
            [
                (x - r * 0.55, y - r * 0.75),
                (x - r * 1.06, y - r * 0.2),
                (x - r * 1.0, y + r * 0.55),
                (x - r * 0.4, y + r * crown),
                (x + r * 0.45, y + r * (crown - 0.02)),
                (x + r * 0.98, y + r * 0.5),
                (x + r * 0.5, y + r * 0.46),
                (x + r * (0.02 + lean), y + r * 0.34),
                (x - r * 0.2, y + r * 0.1),
                (x - r * 0.34, y - r * 0.4),
            ],
            who.hair,
        )
    if who.trait == "beard":  # a beard
        if front:
            pen.blob(
                [
                    (x - r * 0.95, y - r * 0.1),
                    (x - r * 0.7, y - r * 0.4),
                    (x, y - r * 0.3),
                    (x + r * 0.7, y - r * 0.4),
                    (x + r * 0.95, y - r * 0.1),
                    (x + r * 0.8, y - r * 0.8),
                    (x, y - r * 1.16),
                    (x - r * 0.8, y - r * 0.8),
                ],
                who.hair,
            )
            pen.limb([(x - r * 0.2, y - r * 0.56), (x + r * 0.2, y - r * 0.56)], r * 0.1, (196, 96, 88), outline=False)
        else:
            pen.blob(
                [
                    (x - r * 0.35, y - r * 0.2),
                    (x + r * 0.1, y - r * 0.45),
                    (x + r * 0.86, y - r * 0.32),
                    (x + r * 0.86, y - r * 0.8),
                    (x + r * 0.4, y - r * 1.14),
                    (x - r * 0.3, y - r * 0.9),
                ],
                who.hair,
            )
            pen.limb([(x + r * 0.5, y - r * 0.56), (x + r * 0.78, y - r * 0.52)], r * 0.1, (196, 96, 88), outline=False)
