"""Men, women, boys and girls: clothes, limbs, faces and hair on the skeleton of `bodies`."""

from __future__ import annotations

import math

from scenes.drawing.bodies import BODIES, Body, Look, Pose, skeleton
from scenes.drawing.pen import Colour, Pen, Point, mix, path, shade

EYE, LIPS = (44, 32, 40), (150, 54, 54)


def draw_person(pen: Pen, who: Look, pose: Pose, seat: float | None = None, between=None) -> dict[str, Point]:
    """Draw one person; `between(joints)` draws what is held, after the body and before the near arm.

    Returns the joints, in the pen's units, for what is tied to them.
    """
    body = BODIES[who.kind]
    at = skeleton(body, pose, seat)
    head = pen.figure(*at["head"], body.head)
    sleeve = who.colour if who.wear in ("shirt", "jacket") else who.skin
    _arm(pen, who, body, at, "far", shade(sleeve, -0.16), shade(who.skin, -0.10))
    _leg(pen, who, body, at, pose, "far", -0.16)
    _leg(pen, who, body, at, pose, "near", 0.0)
    if who.kind in ("woman", "girl"):
        _back_hair(head, who, pose)
    _torso(pen, who, body, at, pose)
    _head(head, who, pose)
    if between is not None:
        between(at)
    _arm(pen, who, body, at, "near", shade(sleeve, 0.06), who.skin)
    return at


def _arm(
    pen: Pen, who: Look, body: Body, at: dict[str, Point], side: str, sleeve: Colour, skin: Colour
) -> None:
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
    # The foot is square to the shin, never steeper than 50.
    down = math.atan2(foot[0] - knee[0], knee[1] - foot[1])
    tilt = max(-0.9, min(0.9, down))
    ahead = 0.0 if pose.front else 1.0
    sign = (1.0 if side == "near" else -1.0) if pose.front else 1.0
    tip = (
        foot[0] + sign * math.cos(tilt) * (0.034 + 0.026 * ahead),
        foot[1] + sign * math.sin(tilt) * 0.05 * ahead,
    )
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
    pen.limb(
        [place(0, t), (at["head"][0], at["head"][1] - body.head * 0.4)],
        body.limb * 1.05,
        shade(who.skin, -0.10),
    )
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
            [place(wide * 0.1, t * 0.9), place(wide * 0.1, low + 0.01)],
            0.010,
            shade(who.colour, -0.42),
            outline=False,
        )


# Heads are drawn in units of their radius, round the origin.


def _back_hair(head: Pen, who: Look, pose: Pose) -> None:
    """What falls behind the neck: a woman's long hair, a girl's bunches or pony tail with a ribbon."""
    fast = pose.lean > 8
    ribbon = shade(who.colour, 0.5) if sum(who.colour) < 500 else (226, 74, 84)
    if who.kind == "girl" and pose.front:
        for right in (False, True):
            half = head.figure(0.0, 0.0, 1.0, flip=not right)
            half.blob(path(".8,.3 1.55,.6 1.95,-.3 1.7,-1.25 1.3,-.5"), who.hair)
            half.ellipse(1.02, 0.3, 0.2, 0.24, ribbon)
    elif who.kind == "girl":
        flying = "-.7,.55 -1.5,.8 -2.5,.2 -2.7,-.5 -1.4,-.1"
        head.blob(path(flying if fast else "-.7,.55 -1.45,.75 -2,-.1 -1.95,-1.35 -1.3,-.3"), who.hair)
        head.ellipse(-0.98, 0.42, 0.22, 0.26, ribbon)
    elif who.kind == "woman" and pose.front:
        head.blob(
            path("-.95,.5 -1.2,-.4 -1.25,-1.75 -.5,-2.1 .5,-2.1 1.25,-1.75 1.2,-.4 .95,.5"),
            shade(who.hair, -0.12),
        )
    elif who.kind == "woman":
        long = "-1.2,.5 -1.5,-.4 -2.2,-1.5 -1.5,-1.9 -.3,-1.3 .6,-.4 .6,.7"
        hair = long if fast else "-1.15,.5 -1.45,-.4 -1.5,-1.7 -.75,-2.1 .05,-1.7 .7,-.4 .6,.7"
        head.blob(path(hair), shade(who.hair, -0.12))


def _head(head: Pen, who: Look, pose: Pose) -> None:
    if not pose.front:
        head.ellipse(0.94, -0.12, 0.16, 0.14, who.skin)  # nose
    head.ellipse(0.0, 0.0, 0.96, 1.0, who.skin)
    blush = mix(who.skin, (236, 96, 96), 0.28)
    if pose.front:
        for x in (-1, 1):
            head.ellipse(x * 0.36, -0.06, 0.12, 0.15, EYE, outline=False)
            head.ellipse(x * 0.55, -0.36, 0.17, 0.12, blush, outline=False)
        head.curve(path("-.26,-.45 0,-.57 .26,-.45"), 0.09, LIPS, outline=False)
    else:
        head.ellipse(0.52, 0.02, 0.12, 0.16, EYE, outline=False)
        head.ellipse(0.34, -0.34, 0.18, 0.12, blush, outline=False)
        head.curve(path(".42,-.5 .56,-.55 .7,-.46"), 0.09, LIPS, outline=False)
        head.ellipse(-0.22, -0.08, 0.16, 0.2, shade(who.skin, -0.12), outline=False)  # ear
    if who.wear == "jacket":
        _woollen_hat(head, who)
    elif who.trait == "cap":
        _cap(head, who, pose)
    else:
        _hair(head, who, pose)
    if who.trait == "beard":
        _beard(head, who, pose)


def _woollen_hat(head: Pen, who: Look) -> None:
    pale = shade(who.colour, 0.45)
    head.blob(path("-1.02,.3 -.9,.85 0,1.22 .9,.85 1.02,.3"), shade(who.colour, -0.25))
    head.limb(path("-.96,.32 .96,.32"), 0.3, pale)
    head.ellipse(0.0, 1.28, 0.26, colour=pale)


def _cap(head: Pen, who: Look, pose: Pose) -> None:
    cap = shade(who.colour, -0.2)
    head.blob(path("-1.02,.22 -.86,.86 0,1.16 .86,.86 1.02,.26"), cap)
    brim = path("-.75,.28 .75,.28") if pose.front else path("-.1,.28 1.5,.24")
    head.limb(brim, 0.22, shade(cap, -0.2))


def _hair(head: Pen, who: Look, pose: Pose) -> None:
    """Short on men and boys; on women and girls the fringe and the top of long hair."""
    short = who.kind in ("man", "boy")
    if pose.front and short:
        head.blob(path("-1.02,-.14 -.98,.6 -.4,1.14 .4,1.14 .98,.6 1.02,-.14 .8,.36 .1,.6 -.6,.42"), who.hair)
    elif pose.front:
        head.blob(path("-1.04,-.3 -1.02,.6 -.4,1.18 .4,1.18 1.02,.6 1.04,-.3 .78,.3 .1,.62 -.6,.4"), who.hair)
    elif short:
        head.blob(path("-.6,-.5 -1.04,-.1 -1,.55 -.4,1.14 .45,1.12 .98,.5 .5,.46 -.1,.34 -.3,0"), who.hair)
    else:
        head.blob(
            path("-.6,-.9 -1.1,-.2 -1.02,.55 -.4,1.18 .45,1.16 1,.5 .5,.44 0,.3 -.2,0 -.3,-.5"), who.hair
        )


def _beard(head: Pen, who: Look, pose: Pose) -> None:
    if pose.front:
        head.blob(path("-.95,-.1 -.7,-.4 0,-.3 .7,-.4 .95,-.1 .8,-.8 0,-1.16 -.8,-.8"), who.hair)
        head.limb(path("-.2,-.56 .2,-.56"), 0.1, (206, 100, 92), outline=False)
    else:
        head.blob(path("-.35,-.2 .1,-.45 .86,-.32 .86,-.8 .4,-1.14 -.3,-.9"), who.hair)
        head.limb(path(".5,-.56 .78,-.52"), 0.1, (206, 100, 92), outline=False)
