"""Bodies, poses and looks: the skeleton of a person as angles and lengths.

Angles are in degrees, 0 = straight down, positive = forward (to the figure's right; one that faces left is
mirrored by its pen). An adult is 1 unit tall, feet at the origin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scenes.drawing.palette import HAIR, PAINT, SHOES, SKIN, TROUSERS
from scenes.drawing.pen import Colour, Point


@dataclass(frozen=True)
class Body:
    """Lengths in units of an adult's height."""

    head: float  # radius
    torso: float
    thigh: float
    shin: float
    upper: float  # upper arm
    fore: float
    girth: float  # half width of the chest seen from the front
    limb: float  # thickness of an arm


BODIES = {
    "man": Body(0.098, 0.32, 0.225, 0.215, 0.165, 0.150, 0.134, 0.066),
    "woman": Body(0.100, 0.28, 0.220, 0.210, 0.155, 0.140, 0.092, 0.050),
    "boy": Body(0.126, 0.215, 0.135, 0.130, 0.115, 0.105, 0.092, 0.052),
    "girl": Body(0.126, 0.205, 0.135, 0.130, 0.112, 0.102, 0.082, 0.046),
}


@dataclass(frozen=True)
class Pose:
    """Angles in degrees: (near, far) for limbs; knees bend back, elbows bend forward."""

    thighs: tuple[float, float]
    knees: tuple[float, float]
    arms: tuple[float, float]
    elbows: tuple[float, float]
    lean: float = 0.0
    front: bool = False  # seen from the front: both eyes, arms to either side
    lift: float = 0.0  # height of the lowest foot above the ground


POSES = {
    "stand": Pose((4, -4), (0, 0), (14, -14), (8, -8), front=True),
    "wave": Pose((5, -5), (0, 0), (122, -14), (30, -8), front=True),
    "walk": Pose((26, -20), (4, 16), (-26, 28), (14, 22), 3),
    "run": Pose((62, -34), (58, 62), (-58, 62), (88, 82), 14),
    "jump": Pose((48, -52), (88, 96), (142, -142), (14, -14), front=True, lift=0.17),
    "sit": Pose((84, 78), (84, 84), (34, 22), (40, 46), -2),
    "ground": Pose((72, 58), (12, 98), (-30, 48), (-4, 20), -12),
    "kick": Pose((58, -10), (6, 14), (-52, 58), (22, 30), -9),
    "hold": Pose((4, -5), (0, 4), (46, -12), (94, 8), 0),
    "reach": Pose((6, -8), (0, 6), (118, -14), (26, 12), -4),
    "ride": Pose((62, 30), (64, 60), (62, 56), (14, 14), 16),
    "astride": Pose((48, 44), (42, 40), (52, 44), (38, 38), 2),
    "skate": Pose((52, -22), (62, 34), (78, -78), (6, -8), 14),
    "ski": Pose((56, 42), (72, 66), (30, 22), (58, 58), 24),
    "surf": Pose((46, -26), (64, 40), (84, -78), (8, -10), 12),
    "lead": Pose((24, -18), (4, 14), (46, -24), (18, 14), 3),
    "crawl": Pose((-66, -80), (0, 6), (116, 30), (-14, -20), 58),
    "row": Pose((78, 72), (60, 60), (64, 58), (10, 10), -6),
}


@dataclass(frozen=True)
class Look:
    """Who it is and what they wear."""

    kind: str
    wear: str  # shirt, dress, jacket or swimsuit
    colour: Colour
    skin: Colour
    hair: Colour
    legs: Colour
    shoes: Colour
    trait: str | None  # beard or cap


def look(subject: dict, colour: str, rng) -> Look:
    """A person of a scene's facts; `rng` chooses what they leave open: skin, trousers, shoes, mixed hair."""
    kind, hair, trait = subject["kind"], subject.get("hair"), subject.get("trait")
    legs = TROUSERS[2] if colour in ("blue", "black") else TROUSERS[int(rng.integers(len(TROUSERS)))]
    hair = hair or ("black", "brown", "blond")[int(rng.integers(3))]
    skin = SKIN[int(rng.integers(2 if hair in ("blond", "red") else len(SKIN)))]
    shoes = SHOES[int(rng.integers(len(SHOES)))]
    bare = subject["wear"] == "swimsuit" and kind in ("man", "boy")
    return Look(kind, subject["wear"], skin if bare else PAINT[colour], skin, HAIR[hair], legs, shoes, trait)


def towards(start: Point, length: float, angle: float) -> Point:
    """The point `length` from `start` at `angle` degrees (0 = down, 90 = forward)."""
    return start[0] + length * math.sin(math.radians(angle)), start[1] - length * math.cos(
        math.radians(angle)
    )


def skeleton(body: Body, pose: Pose, seat: float | None = None) -> dict[str, Point]:
    """All joints; the lowest foot stands at `pose.lift`, or the hip at height `seat` where one sits."""
    hip = (0.0, 0.0)
    chest = towards(hip, body.torso, 180 - pose.lean)
    neck = towards(chest, body.head * 1.12, 180 - pose.lean * 0.4)
    joints = {"hip": hip, "chest": chest, "head": neck}
    spread = 0.042 if pose.front else 0.012
    shoulder = body.girth * 0.86 if pose.front else 0.02
    for side, k, sign in (("near", 0, 1.0), ("far", 1, -1.0)):
        top = (hip[0] + sign * spread, hip[1])
        bend = pose.knees[k] * (sign if pose.front else 1.0)
        joints[f"top_{side}"] = top
        joints[f"knee_{side}"] = towards(top, body.thigh, pose.thighs[k])
        joints[f"foot_{side}"] = towards(joints[f"knee_{side}"], body.shin, pose.thighs[k] - bend)
        base = towards(hip, body.torso * 0.9, 180 - pose.lean)
        joints[f"shoulder_{side}"] = (base[0] + sign * shoulder, base[1])
        joints[f"elbow_{side}"] = towards(joints[f"shoulder_{side}"], body.upper, pose.arms[k])
        joints[f"hand_{side}"] = towards(joints[f"elbow_{side}"], body.fore, pose.arms[k] + pose.elbows[k])
    lowest = min(joints["foot_near"][1], joints["foot_far"][1]) - 0.028
    rise = seat if seat is not None else pose.lift - lowest
    return {name: (x, y + rise) for name, (x, y) in joints.items()}
