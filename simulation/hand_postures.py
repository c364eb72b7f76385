"""Finger postures of the human hand: a pinch for every aperture, a push and a pointing finger.

The pinch is an optimization (thumb and index tips at a given distance, along the axis that the grasp stance puts
level) that takes about 2 s a hand, so the solved tables are kept in `assets/postures.npz`;
`python -m simulation.hand_postures` makes that file anew after a change of `assets/hands.npz`.
"""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from simulation.hand_shape import JOINTS, HandShape, load_hands

APERTURES = np.linspace(0.02, 0.10, 9)
PINCH_AXIS = np.array(
    [0.95, 0.0, 0.312]
)  # from thumb to index; level when the hand is pitched by PINCH_PITCH
PINCH_PITCH = float(np.arctan2(PINCH_AXIS[2], PINCH_AXIS[0]))
PINCH_POINT = np.array([0.115, 0.025, -0.075])
FREE = ("thumb_twist", "thumb_0", "thumb_1", "thumb_2", "index_0", "index_1", "index_2")
LOWER = (-0.9, -0.3, -0.3, -0.3, -0.2, 0.0, 0.0)
UPPER = (0.9, 1.0, 1.0, 1.1, 1.3, 1.5, 0.9)
NEUTRAL = np.array([0, 0.3, 0.2, 0.2, 0.5, 0.6, 0.3])
BLADE_INSET = 0.03  # metres from the finger tips to where the edge of the hand pushes
CURL = {"middle": 1.05, "ring": 1.25, "pinky": 1.3}  # how much more than the index finger the others bend


def fingers(**angles: tuple[float, ...]) -> np.ndarray:
    """Joint vector in the order of `JOINTS` from per-finger angles; the thumb takes four."""
    flat = {"thumb_twist": angles["thumb"][0]}
    for finger, values in angles.items():
        flat |= {f"{finger}_{k}": v for k, v in enumerate(values[-3:])}
    return np.array([flat[name] for name, _, _ in JOINTS])


PUSH = fingers(
    thumb=(0.0, 0.3, 0.3, 0.4),
    index=(0.45, 0.30, 0.15),
    middle=(0.50, 0.32, 0.15),
    ring=(0.48, 0.32, 0.15),
    pinky=(0.38, 0.28, 0.12),
)
BLADE = fingers(
    thumb=(0.0, 0.2, 0.2, 0.3),
    index=(0.24, 0.18, 0.10),
    middle=(0.26, 0.18, 0.10),
    ring=(0.24, 0.18, 0.10),
    pinky=(0.20, 0.16, 0.08),
)
POINT = fingers(
    thumb=(0.2, 0.6, 0.5, 0.5),
    index=(0.25, 0.25, 0.10),
    middle=(1.20, 1.30, 0.70),
    ring=(1.25, 1.35, 0.70),
    pinky=(1.25, 1.35, 0.70),
)


def solve_pinch(hand: HandShape, aperture: float) -> np.ndarray:
    """Joint vector whose thumb and index tips are `aperture` metres apart along `PINCH_AXIS`."""

    def spread(x: np.ndarray) -> np.ndarray:
        by_joint: dict[str, float] = dict(zip(FREE, x, strict=True))
        for finger, factor in CURL.items():
            extra = 0.0 if finger == "middle" else 0.05
            by_joint |= {f"{finger}_{k}": by_joint[f"index_{k}"] * factor + extra for k in range(3)}
        return np.array([by_joint[name] for name, _, _ in JOINTS])

    def cost(x: np.ndarray) -> float:
        tips = hand.tips(spread(x))
        gap = tips["index"] - tips["thumb"] - aperture * PINCH_AXIS
        middle = (tips["index"] + tips["thumb"]) / 2 - PINCH_POINT
        return float(4e3 * gap @ gap + 150 * middle @ middle + 0.02 * np.sum((x - NEUTRAL) ** 2))

    starts = [NEUTRAL + np.eye(7)[0] * twist for twist in (0.0, 0.4, -0.4)]
    bounds = list(zip(LOWER, UPPER, strict=True))
    return spread(min((minimize(cost, s, bounds=bounds) for s in starts), key=lambda r: r.fun).x)


@cache
def load_pinches() -> dict[str, np.ndarray]:
    """Hand shape -> (9, 16) joint vectors, one per aperture of `APERTURES`."""
    with (files("simulation") / "assets" / "postures.npz").open("rb") as file, np.load(file) as z:
        return {name: z[name].astype(float) for name in z.files}


def pinch(shape: str, aperture: float) -> np.ndarray:
    """Joint vector of a pinch with the tips `aperture` metres apart."""
    return np.array([np.interp(aperture, APERTURES, column) for column in load_pinches()[shape].T])


def tool_points(hand: HandShape) -> dict[str, np.ndarray]:
    """Posture -> the point of the wrist frame that acts on objects, metres."""
    tips = {name: hand.tips(q) for name, q in (("push", PUSH), ("blade", BLADE), ("point", POINT))}
    pinched = hand.tips(pinch(hand.name, 0.05))
    return {
        "pinch": (pinched["thumb"] + pinched["index"]) / 2,
        "push": np.mean([tips["push"][f] for f in ("index", "middle", "ring")], axis=0),
        "blade": np.mean([tips["blade"][f] for f in ("ring", "pinky")], axis=0) - [BLADE_INSET, 0, 0],
        "point": tips["point"]["index"],
    }


def main() -> None:
    """Solve every pinch of every hand and write the table."""
    tables: dict[str, Any] = {
        name: np.array([solve_pinch(hand, a) for a in APERTURES], np.float32)
        for name, hand in load_hands().items()
    }
    np.savez_compressed(Path(__file__).parent / "assets" / "postures.npz", **tables)


if __name__ == "__main__":
    main()
