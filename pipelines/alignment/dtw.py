"""Dynamic time warping of two multivariate sequences, and what becomes of its path.

The path is found by `dtaidistance` in C (600×450 samples: 2 ms). Robot time is the reference: every robot
frame gets one human frame, so that human frames are repeated or dropped (paper A.1).
"""

import numpy as np
from dtaidistance import dtw_ndim


def warping_path(robot: np.ndarray, human: np.ndarray, window: float) -> np.ndarray:
    """(P, 2) int64 optimal path of (robot, human) samples by Euclidean distance, both ends matched.

    Args:
        robot: (M, D) finite.
        human: (N, D) finite.
        window: half width of the band around the diagonal as a share of the longer sequence; the band is wider
            than that by |M − N| samples.

    Raises:
        ValueError: a value is not finite (the C library would return a wrong path without a word).
    """
    if not (np.isfinite(robot).all() and np.isfinite(human).all()):
        raise ValueError("DTW needs finite sequences; found NaN or infinity: interpolate or mask them first")
    path = dtw_ndim.warping_path(
        np.ascontiguousarray(robot, dtype=np.float64),
        np.ascontiguousarray(human, dtype=np.float64),
        use_c=True,
        inner_dist="euclidean",
        window=1 + int(np.ceil(window * max(len(robot), len(human)))),
    )
    return np.array(path, dtype=np.int64)


def human_index(path: np.ndarray, robot_frames: int, human_frames: int) -> np.ndarray:
    """(robot_frames,) int64 non-decreasing human frame per robot frame.

    Several human frames matched to one robot frame collapse to their median. A robot frame that is not on the
    path (it lay in a gap) is interpolated between its matched neighbours; before the first and after the last
    of them, towards the clips' own ends.

    Args:
        path: (P, 2) monotone path of (robot frame, human frame), in frames of the two clips.
    """
    matched = np.unique(path[:, 0])
    medians = np.array([np.median(path[path[:, 0] == frame, 1]) for frame in matched])
    if matched[0] > 0:
        matched, medians = np.insert(matched, 0, 0), np.insert(medians, 0, 0.0)
    if matched[-1] < robot_frames - 1:
        matched, medians = np.append(matched, robot_frames - 1), np.append(medians, human_frames - 1.0)
    index = np.interp(np.arange(robot_frames), matched, medians)
    return np.rint(index).astype(np.int64)
