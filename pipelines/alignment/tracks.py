"""Align two tracks seen by two cameras: warp in time, fit the view, repeat.

The two tracks differ by time and by view at once. As in iterated closest points, each step solves one with the
other held: DTW gives matched frames, these give the affine map that takes the human's image plane to the
robot's, and the mapped track is warped again. Without it a different camera height or azimuth is mistaken for a
different time: on synthetic pairs of tracks the mean error falls from 1.4 to 1.2 % of the clip's length, and
from 1.9 to 1.4 % by the velocity channel (`benchmarks/alignment`).
"""

from dataclasses import dataclass

import numpy as np

from pipelines.alignment.dtw import human_index, warping_path
from pipelines.alignment.normalization import Track, fit_view, motion
from pipelines.engine.stage import StageConfig


class WarpConfig(StageConfig):
    """How two prepared tracks are compared. Defaults: sweep of `benchmarks/alignment`."""

    motion_weight: float = 0.8
    """Of the velocity channels against the position, whose spread is 1."""
    time_weight: float = 0.3
    """Of the relative time of the clip: decides where nothing moves, gives way where something does; in
    place of a window around the diagonal."""
    view_steps: int = 3
    """Rounds of view fitting; 0 compares the normalized tracks as they are."""
    view_ridge: float = 0.15
    """Pull of the fitted view towards the identity."""


@dataclass(frozen=True)
class Warp:
    """Result of `align_tracks`; see `data_schemas.pairs.Alignment` for the fields."""

    human_index: np.ndarray
    path: np.ndarray
    cost: float


def align_tracks(robot: Track, human: Track, config: WarpConfig) -> Warp:
    """Frame correspondence of two prepared tracks of equal dimension."""
    values = human.values
    path = _path(robot, human, values, config)
    for _ in range(config.view_steps):
        view = fit_view(values[path[:, 1]], robot.values[path[:, 0]], config.view_ridge)
        values = np.column_stack([values, np.ones(len(values))]) @ view
        path = _path(robot, human, values, config)
    cost = np.linalg.norm(robot.values[path[:, 0]] - values[path[:, 1]], axis=1).mean()
    frames = np.column_stack([robot.frames[path[:, 0]], human.frames[path[:, 1]]])
    return Warp(human_index(frames, robot.num_frames, human.num_frames), frames, float(cost))


def _path(robot: Track, human: Track, human_values: np.ndarray, config: WarpConfig) -> np.ndarray:
    return warping_path(_channels(robot, robot.values, config), _channels(human, human_values, config))


def _channels(track: Track, values: np.ndarray, config: WarpConfig) -> np.ndarray:
    """(M, 2 D + 1): position, velocity, relative time."""
    relative_time = 2.0 * track.frames / max(track.num_frames - 1, 1) - 1.0
    return np.column_stack(
        [values, config.motion_weight * motion(values, track.times), config.time_weight * relative_time]
    )
