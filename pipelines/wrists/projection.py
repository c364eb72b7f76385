"""End-effector tracks of robot demonstrations: the recorded pose, projected into the picture.

u = fx X / Z + cx, v = fy Y / Z + cy, with the position interpolated linearly between the two poses around a
frame's time. Projection knows the borders of the picture and what is behind the camera, but nothing of
occlusion: visibility is 1 wherever the point falls into the picture, even if something stands before it.

Convention: camera frame x right, y down, z forward, metres; pixels (x, y), pixel centres at integers.
"""

from dataclasses import dataclass

import numpy as np

from data_schemas.cues import WristTrack
from data_schemas.demonstrations import Demonstration
from data_schemas.errors import BadInput
from pipelines.inputs import VideoInput
from pipelines.interpolation import neighbours
from pipelines.wrists.base import WristAnnotator, wrist_track

MIN_DEPTH = 1e-3
"""Metres in front of the camera; nearer points project to nowhere."""


@dataclass(frozen=True)
class ProjectionConfig:
    """How far in time a pose may be from a frame."""

    max_pose_gap_s: float = 0.5
    """No interpolation between poses further apart."""
    tolerance_s: float = 0.05
    """A single pose holds for frames this near, also before the first and after the last."""


@dataclass(frozen=True)
class ProjectionAnnotator(WristAnnotator):
    """The end effector by the robot's own account."""

    config: ProjectionConfig
    source: str = "projection"

    def annotate(self, clip: VideoInput) -> WristTrack:
        """See `WristAnnotator.annotate`; without intrinsics or poses every frame is `no_pose`.

        Raises:
            BadInput: `bad_effector_poses`, poses that are not finite, not in order or not as many as their times.
        """
        row = clip.demonstration
        num_frames = len(row.timestamps)
        if row.K is None or not row.effector_times.size:
            nowhere = np.full((num_frames, 2), np.nan)
            return wrist_track(row, self.source, nowhere, np.zeros(num_frames), ["no_pose"] * num_frames)
        _check(row)
        positions = positions_at(row.timestamps, row.effector_times, row.effector_poses[:, :3], self.config)
        points, behind = project(positions, row.K)
        flags = np.where(np.isnan(positions[:, 2]), "no_pose", np.where(behind, "behind_camera", "found"))
        return wrist_track(row, self.source, points, np.ones(num_frames), flags.tolist())


def positions_at(
    times: np.ndarray, pose_times: np.ndarray, positions: np.ndarray, config: ProjectionConfig
) -> np.ndarray:
    """Positions at given times, linear between poses; NaN where the poses do not tell.

    Args:
        times: (T,) seconds.
        pose_times: (M,) seconds, strictly increasing, M >= 1.
        positions: (M, 3) metres.

    Returns:
        (T, 3) metres.
    """
    before, after, enclosed = neighbours(pose_times, times, config.max_pose_gap_s)
    spread = pose_times[after] - pose_times[before]
    weight = np.where(spread > 0, (times - pose_times[before]) / np.where(spread > 0, spread, 1), 0.0)
    between = positions[before] + weight[:, None] * (positions[after] - positions[before])
    nearest = np.where(abs(times - pose_times[before]) <= abs(pose_times[after] - times), before, after)
    near = abs(times - pose_times[nearest]) <= config.tolerance_s
    return np.where(enclosed[:, None], between, np.where(near[:, None], positions[nearest], np.nan))


def project(positions: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pinhole projection of points in the camera frame.

    Args:
        positions: (T, 3) metres; NaN stays NaN.
        K: (3, 3) intrinsics.

    Returns:
        (T, 2) pixels, NaN where behind the camera; (T,) whether behind the camera.
    """
    behind = positions[:, 2] <= MIN_DEPTH
    depth = np.where(behind, np.nan, positions[:, 2])[:, None]
    return (positions / depth @ K.T)[:, :2], behind


def _check(row: Demonstration) -> None:
    times, poses = row.effector_times, row.effector_poses
    if len(poses) != len(times):
        fault = f"{len(poses)} poses for {len(times)} times"
    elif not (np.isfinite(poses).all() and np.isfinite(times).all()):
        fault = f"{int((~np.isfinite(poses)).any(axis=1).sum())} poses that are not finite"
    elif (np.diff(times) <= 0).any():
        fault = "times that do not increase"
    else:
        return
    raise BadInput(
        "bad_effector_poses", f"{row.source} has {fault}; expected one finite pose per time, in order."
    )
