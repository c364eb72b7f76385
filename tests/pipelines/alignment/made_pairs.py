"""Pairs of demonstrations whose true correspondence is known, made without any video or simulation."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from data_schemas.cues import ObjectTrack, WristTrack
from data_schemas.demonstrations import Demonstration
from pipelines.inputs import Annotated, PairInput
from pipelines.wrists.base import wrist_track as flagged_track

WAYPOINTS = np.array(
    [
        [0.1, 0.2, 0.3],
        [0.3, 0.5, 0.2],
        [0.3, 0.5, 0.05],
        [0.3, 0.5, 0.25],
        [0.7, 0.3, 0.2],
        [0.7, 0.3, 0.05],
        [0.5, 0.1, 0.4],
    ]
)
"""Metres: approach, reach down, lift, carry, put down, withdraw."""
VIEWS = {
    "human": np.array([[300.0, 40, -60], [30, 90, -330]]),
    "robot": np.array([[330.0, -50, -20], [-20, 140, -300]]),
}
"""Pixels per metre: two affine cameras that look from different sides."""
OFFSETS = {"human": np.array([-0.06, 0.02, 0.08]), "robot": np.zeros(3)}
"""The wrist lies behind the fingertips, where the end effector's point is."""
FPS = 10.0


@dataclass(frozen=True)
class TruePair:
    """human_points (H, 2), robot_points (R, 2) pixels; truth (R,) human frame, fractional, per robot frame."""

    human_points: np.ndarray
    robot_points: np.ndarray
    truth: np.ndarray

    def error(self, human_index: np.ndarray) -> float:
        """Mean absolute error as a share of the human clip's length."""
        return float(np.abs(human_index - self.truth).mean() / len(self.human_points))


def true_pair(seed: int, noise: float = 1.0) -> TruePair:
    """Minimum-jerk phases between the waypoints, each with its own duration on each side."""
    rng = np.random.default_rng(seed)
    tracks, phases = {}, {}
    waypoints = WAYPOINTS + rng.normal(scale=0.03, size=WAYPOINTS.shape)
    for side, pace in (("human", 0.8), ("robot", 1.3)):
        ends = np.concatenate([[0.0], np.cumsum(pace * rng.uniform(0.5, 1.5, len(waypoints) - 1))])
        times = np.arange(0.0, ends[-1], 1.0 / FPS)
        phases[side] = np.interp(times, ends, np.arange(len(ends)))
        k = np.minimum(phases[side].astype(int), len(waypoints) - 2)
        u = (phases[side] - k)[:, None]
        at = waypoints[k] + (waypoints[k + 1] - waypoints[k]) * (10 * u**3 - 15 * u**4 + 6 * u**5)
        pixels = (at + OFFSETS[side]) @ VIEWS[side].T + 112
        tracks[side] = pixels + rng.normal(scale=noise if side == "human" else 0.0, size=pixels.shape)
    truth = np.interp(phases["robot"], phases["human"], np.arange(len(phases["human"])))
    return TruePair(tracks["human"], tracks["robot"], truth)


def demonstration(embodiment: str, num_frames: int, **changes: Any) -> Demonstration:
    """A demonstration of 224×224 px at 10 Hz without video."""
    empty = np.zeros(0)
    row = Demonstration(
        demonstration_id=f"{embodiment}-{num_frames}",
        dataset="made",
        embodiment=embodiment,
        camera="front",
        source=f"scene/{embodiment}",
        pair_key="scene",
        task="pick",
        instruction="pick up the block",
        license="Apache-2.0",
        video_path=f"{embodiment}.mp4",
        source_sha256="0" * 64,
        codec="h264",
        width=224,
        height=224,
        num_frames=num_frames,
        fps=FPS,
        timestamps=np.arange(num_frames) / FPS,
        pts=np.arange(num_frames),
        keyframes=np.zeros(1, dtype=np.int64),
        intrinsics=empty,
        effector_times=empty,
        effector_poses=np.zeros((0, 7)),
        gripper_times=empty,
        gripper_widths=empty,
        object_box=np.zeros(0, dtype=np.float32),
        object_box_frame=0,
    )
    return replace(row, **changes)


def wrist_track(points: np.ndarray, visible: np.ndarray | None = None) -> WristTrack:
    """Points (T, 2) with a mask; NaN where not visible."""
    seen = np.ones(len(points), dtype=bool) if visible is None else visible
    masked = np.where(seen[:, None], points, np.nan).astype(np.float32)
    flags = ["found" if s else "not_found" for s in seen]
    return WristTrack("id", "made", masked, seen.astype(np.float32), seen, flags)


def projected_track(points: np.ndarray) -> WristTrack:
    """Points (T, 2) as annotators give them: known, but not visible, outside the picture."""
    count = len(points)
    return flagged_track(
        demonstration("robot", count), "projection", points, np.ones(count), ["found"] * count
    )


def object_track(centres: np.ndarray, visible: np.ndarray | None = None) -> ObjectTrack:
    """Five keypoints that move along with `centres` (T, 2); `visible` (T, 5)."""
    offsets = np.array([[0, 0], [4, 0], [-4, 0], [0, 4], [0, -4]], dtype=np.float32)
    points = (centres[:, None] + offsets).astype(np.float32)
    seen = np.ones(points.shape[:2], dtype=bool) if visible is None else visible
    box = np.array([*centres[0] - 6, *centres[0] + 6], dtype=np.float32)
    return ObjectTrack("id", "made", "made", "block", box, 0, 5, points, seen.astype(np.float32), seen)


def annotated(
    embodiment: str,
    num_frames: int,
    wrist: WristTrack | None = None,
    objects: ObjectTrack | None = None,
    **changes: Any,
) -> Annotated:
    """A demonstration with its cues."""
    return Annotated(demonstration(embodiment, num_frames, **changes), Path("raw"), wrist, objects)


def wrist_pair(
    pair: TruePair, human_visible: np.ndarray | None = None, robot_visible: np.ndarray | None = None
) -> PairInput:
    """What the alignment stage reads, with wrist tracks only."""
    return PairInput(
        "pair",
        annotated("human", len(pair.human_points), wrist_track(pair.human_points, human_visible)),
        annotated("robot", len(pair.robot_points), wrist_track(pair.robot_points, robot_visible)),
    )
