"""Task plans: the waypoints of the tool point, the same for every embodiment.

A waypoint ends a phase. Phases carry the ground truth of time: two clips of a pair correspond where phase and
progress agree.
"""

from dataclasses import dataclass

import numpy as np

from simulation.content import DIRECTIONS, PUSH_LENGTH, Content
from simulation.embodiment import Embodiment
from simulation.objects import (
    CAP_HALF,
    CAP_REST,
    CAP_TRAVEL,
    CUP_HALF,
    GRASP_WIDTH,
    MAT_THICKNESS,
    PLATE_HALF,
    PUSH_HALF,
    REST_HEIGHT,
)
from simulation.rotations import about_x, about_z

OPEN = 0.085
PUSHES = {
    "toward the camera": ("push_away", "push"),
    "to the right": ("push_right", "blade"),
    "to the left": ("push_left", "blade"),
}
WIDE = 0.10  # so that curled fingers do not hook what they leave
OVERTRAVEL = 0.015  # metres a push goes on, as contact is soft
CLEARANCE = 0.15
CUP_GRASP = 0.014  # metres from the cup's middle towards its rim


@dataclass(frozen=True)
class Waypoint:
    """Where a phase ends.

    position: tool point in the world, metres; R: root rotation in the world; weight: share of the clip's time;
    event: `grasp`, `release` or empty, at the end of the phase.
    """

    phase: str
    position: np.ndarray
    R: np.ndarray
    posture: str
    aperture: float
    weight: float
    event: str = ""


def shift(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    """A displacement in the world, metres."""
    return np.array([x, y, z])


def _pick_place(content: Content, body: Embodiment) -> list[Waypoint]:
    thing, target = content.object, content.target
    turn = about_z(content.yaws[thing]) @ body.rotation("grasp")
    width = GRASP_WIDTH[thing]
    x, y = content.positions[thing]
    grip = np.array([x, y, REST_HEIGHT[thing] + 0.004])
    surface = 2 * PLATE_HALF if target == "plate" else MAT_THICKNESS
    drop = np.array([*content.positions[target], surface + REST_HEIGHT[thing] + 0.007])
    up = shift(z=CLEARANCE)
    leave = np.array([drop[0] - 0.06, drop[1], 0.22])
    return [
        Waypoint("reach", grip + up, turn, "pinch", OPEN, 1.0),
        Waypoint("descend", grip, turn, "pinch", OPEN, 0.8),
        Waypoint("grasp", grip, turn, "pinch", width, 0.5, "grasp"),
        Waypoint("lift", grip + up, turn, "pinch", width, 0.7),
        Waypoint("carry", drop + up * 0.8, turn, "pinch", width, 1.0),
        Waypoint("lower", drop, turn, "pinch", width, 0.7, "release"),
        Waypoint("release", drop + shift(z=0.002), turn, "pinch", OPEN, 0.4),
        Waypoint("retreat", leave, turn, "pinch", OPEN, 0.8),
    ]


def _push(content: Content, body: Embodiment) -> list[Waypoint]:
    thing = content.object
    along = np.array([*DIRECTIONS[content.direction], 0.0])
    stance, posture = PUSHES[content.direction]
    R = body.rotation(stance)
    reach, height = body.push_contact(stance)
    start = np.array([*content.positions[thing], height])
    stand_off = PUSH_HALF[thing][0 if along[0] else 1] + reach
    behind = start - along * (stand_off + 0.035)
    end = start + along * (PUSH_LENGTH + OVERTRAVEL - stand_off)
    back = end - along * 0.03
    return [
        Waypoint("reach", behind + shift(z=CLEARANCE), R, posture, 0.0, 1.0),
        Waypoint("descend", behind, R, posture, 0.0, 0.9),
        Waypoint("push", end, R, posture, 0.0, 2.0),
        Waypoint("withdraw", back, R, posture, 0.0, 0.5),
        Waypoint("retreat", back + shift(x=-0.05, z=0.19), R, posture, 0.0, 0.9),
    ]


def _press(content: Content, body: Embodiment) -> list[Waypoint]:
    R = body.rotation("press")
    top = np.array([*content.positions["button"], CAP_REST + CAP_HALF + body.tip_below("point")])
    return [
        Waypoint("reach", top + shift(z=CLEARANCE), R, "point", 0.0, 1.1),
        Waypoint("descend", top + shift(z=0.015), R, "point", 0.0, 0.9),
        Waypoint("press", top - shift(z=CAP_TRAVEL), R, "point", 0.0, 0.8),
        Waypoint("hold", top - shift(z=CAP_TRAVEL), R, "point", 0.0, 0.6),
        Waypoint("release", top + shift(z=0.03), R, "point", 0.0, 0.6),
        Waypoint("retreat", top + shift(x=-0.05, z=CLEARANCE), R, "point", 0.0, 0.9),
    ]


def _flip(content: Content, body: Embodiment) -> list[Waypoint]:
    x, y = content.positions["cup"]
    lying = body.rotation("grasp")
    turned = about_x(np.pi / 2) @ lying
    grip = np.array([x, y + CUP_GRASP, REST_HEIGHT["cup"] * 0.75 + 0.006])
    stand = np.array([x, y, CUP_HALF + CUP_GRASP + 0.004])
    width = GRASP_WIDTH["cup"]
    up = shift(z=CLEARANCE)
    return [
        Waypoint("reach", grip + up, lying, "pinch", OPEN, 1.0),
        Waypoint("descend", grip, lying, "pinch", OPEN, 0.8),
        Waypoint("grasp", grip, lying, "pinch", width, 0.5, "grasp"),
        Waypoint("lift", grip + up, lying, "pinch", width, 0.7),
        Waypoint("turn", stand + up * 0.8, turned, "pinch", width, 1.2),
        Waypoint("lower", stand, turned, "pinch", width, 0.7, "release"),
        Waypoint("release", stand, turned, "pinch", WIDE, 0.5),
        # Thumb and index stand on either side of the cup along x: only the way out of the palm is free.
        Waypoint("withdraw", stand + shift(y=-0.09), turned, "pinch", WIDE, 0.5),
        Waypoint("retreat", stand + shift(x=-0.04, y=-0.10, z=0.12), turned, "pinch", WIDE, 0.6),
    ]


_PLANS = {"pick_place": _pick_place, "push": _push, "press": _press, "flip": _flip}


def working_stance(content: Content) -> str:
    """The stance in which the task's contact happens."""
    return PUSHES[content.direction][0] if content.task == "push" else "grasp"


def plan(content: Content, body: Embodiment) -> list[Waypoint]:
    """Waypoints of the content's task for one embodiment."""
    return _PLANS[content.task](content, body)
