"""When a task is done: one function a task, the same for scripted demonstrations and for policies.

The thresholds are ours, as the paper gives none (its tasks: A.6). Poses are (7,): position in metres, quaternion wxyz.
"""

import numpy as np

from simulation.content import DIRECTIONS, Content
from simulation.objects import CAP_REST, CAP_TRAVEL, REST_HEIGHT
from simulation.rotations import matrix

DISTURBANCE = 0.02  # metres that another object may move

Poses = dict[str, np.ndarray]


def undisturbed(content: Content, poses: Poses) -> bool:
    """Whether no other object has moved by more than `DISTURBANCE`."""
    return all(
        float(np.linalg.norm(poses[name][:2] - xy)) <= DISTURBANCE
        for name, xy in content.positions.items()
        if name != content.object
    )


def upright(pose: np.ndarray) -> float:
    """Cosine of the angle between an object's axis and the vertical."""
    return float(matrix(pose[3:])[2, 2])


def placed(content: Content, poses: Poses) -> bool:
    """Pick and place: within 4 cm of the target's middle, upright, resting on it."""
    thing = poses[content.object]
    off = np.linalg.norm(thing[:2] - content.positions[content.target])
    resting = abs(thing[2] - REST_HEIGHT[content.object]) < 0.02
    return bool(off < 0.04 and upright(thing) > 0.95 and resting)


def pushed(content: Content, poses: Poses) -> bool:
    """Push: at least 5 cm in the asked direction and less than 3 cm aside."""
    along = np.array(DIRECTIONS[content.direction])
    moved = poses[content.object][:2] - content.positions[content.object]
    aside = moved - (moved @ along) * along
    return bool(moved @ along > 0.05 and np.linalg.norm(aside) < 0.03)


def pressed(content: Content, poses: Poses) -> bool:
    """Press: the cap went down by at least 60 % of its travel."""
    return bool(poses["button_cap"][2] < CAP_REST - 0.6 * CAP_TRAVEL)


def flipped(content: Content, poses: Poses) -> bool:
    """Flip: the cup stands upright within 5 cm of where it lay."""
    thing = poses[content.object]
    away = np.linalg.norm(thing[:2] - content.positions[content.object])
    return bool(upright(thing) > 0.97 and away < 0.05)


CRITERIA = {"pick_place": placed, "push": pushed, "press": pressed, "flip": flipped}


def succeeded(content: Content, poses: Poses) -> bool:
    """Whether the task is done and nothing else was disturbed.

    Args:
        content: what should have happened.
        poses: final pose per body; for `button_cap` the lowest position reached.
    """
    return undisturbed(content, poses) and CRITERIA[content.task](content, poses)
