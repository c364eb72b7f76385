"""Clips whose truth is known exactly: a textured object, moved and hidden by a plain arm over a textured table."""

from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from data_schemas.cues import WristTrack

SIDE = 160
REST = np.array([50.0, 90.0])
GOAL = np.array([110.0, 60.0])


@dataclass(frozen=True)
class Clip:
    """A made clip and its truth."""

    frames: np.ndarray
    """(T, H, W, 3) uint8 RGB."""
    motions: np.ndarray
    """(T, 3, 3) object pixels (origin at its centre) to frame pixels."""
    hidden: np.ndarray
    """(T, H, W) bool: pixels that the arm covers."""
    tips: np.ndarray
    """(T, 2)."""
    size: int

    @property
    def centre(self) -> np.ndarray:
        """(T, 2) of the object."""
        return self.motions[:, :2, 2]

    def carried(self, points: np.ndarray, frame: int) -> np.ndarray:
        """(T, N, 2) where `points` (N, 2) of `frame` truly are."""
        own = (np.c_[points, np.ones(len(points))] @ np.linalg.inv(self.motions[frame]).T)[:, :2]
        return np.einsum("tij,nj->tni", self.motions[:, :2, :2], own) + self.motions[:, None, :2, 2]

    def wrist(self, seen: np.ndarray | None = None) -> WristTrack:
        """The tips as a track; `seen` (T,) says in which frames."""
        seen = np.ones(len(self.tips), bool) if seen is None else seen
        points = np.where(seen[:, None], self.tips, np.nan).astype(np.float32)
        flags = ["found" if one else "not_found" for one in seen]
        return WristTrack("made", "made", points, seen.astype(np.float32), seen, flags)


def texture(rng: np.random.Generator, side: int, coarse: int, low: int, high: int) -> np.ndarray:
    """(side, side, 3) smooth random colours between `low` and `high`."""
    small = rng.integers(low, high, (max(2, side // coarse), max(2, side // coarse), 3)).astype(np.float32)
    return np.clip(cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC), 0, 255)


def make_clip(
    *,
    moved: bool = True,
    turn: float = 0.0,
    dim: float = 1.0,
    cover: bool = False,
    object_side: int = 24,
    distractor: tuple[int, int] | None = (111, 121),
    plain: bool = False,
) -> Clip:
    """Arm comes from the top, dwells at the object, takes it to `GOAL` (or only touches it), and leaves.

    Args:
        turn: degrees by which the object turns on its way.
        dim: brightness of the last frame relative to the first.
        cover: the arm is broad and hides the object while it holds it.
        distractor: (x, y) of the middle of another object that stands by.
        plain: the object has one colour only.
    """
    rng = np.random.default_rng(7)
    table = texture(rng, SIDE, 16, 135, 155)
    look = texture(rng, object_side, 5, 0, 255) * np.array([1.0, 0.35, 0.25])
    if plain:
        look[:] = (30, 60, 200)
    if distractor:
        x, y = distractor
        table[y - 11 : y + 11, x - 11 : x + 11] = texture(rng, 22, 5, 0, 255) * np.array([0.3, 1.0, 0.4])
    home = np.array([80.0, -10.0])
    goal = GOAL if moved else REST
    legs = [
        (home, home, 4),
        (home, REST, 12),
        (REST, REST, 4),
        (REST, goal, 14),
        (goal, goal, 4),
        (goal, home, 12),
        (home, home, 6),
    ]
    tips = np.concatenate([a + (b - a) * np.linspace(0, 1, n, endpoint=False)[:, None] for a, b, n in legs])
    begin, end = sum(leg[2] for leg in legs[:3]), sum(leg[2] for leg in legs[:4])
    frames, motions, covered = [], [], []
    for t, tip in enumerate(tips):
        share = np.clip((t - begin) / (end - begin), 0, 1)
        angle = np.deg2rad(turn * share)
        place = REST + (goal - REST) * share
        motion = np.eye(3)
        motion[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        motion[:2, 2] = place
        centred = motion @ np.array(
            [[1, 0, -(object_side - 1) / 2], [0, 1, -(object_side - 1) / 2], [0, 0, 1]]
        )
        body = cv2.warpAffine(look, centred[:2], (SIDE, SIDE))
        alpha = cv2.warpAffine(np.ones(look.shape[:2]), centred[:2], (SIDE, SIDE))[..., None]
        frame = table * (1 - alpha) + body * alpha
        arm = np.zeros((SIDE, SIDE), np.uint8)
        half = object_side if cover else 4
        x, y = round(float(tip[0])), round(float(tip[1]))
        cv2.rectangle(arm, (x - half, -5), (x + half, y + (half if cover else 0)), 1, -1)
        frame[arm > 0] = (225, 190, 160)
        frame = frame * (1 + (dim - 1) * t / (len(tips) - 1)) + rng.normal(0, 1.5, frame.shape)
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
        motions.append(motion)
        covered.append(arm > 0)
    return Clip(np.stack(frames), np.stack(motions), np.stack(covered), tips, object_side)


@pytest.fixture(scope="session")
def carried() -> Clip:
    """The object is carried to another place in full view."""
    return make_clip()


@pytest.fixture(scope="session")
def covered() -> Clip:
    """The object is hidden while it is carried, turned a little, and the light fades."""
    return make_clip(cover=True, turn=15.0, dim=0.75)


@pytest.fixture(scope="session")
def touched() -> Clip:
    """The object is only touched and stays where it is."""
    return make_clip(moved=False)
