"""Dynamic time warping of two multivariate sequences, and what becomes of its path.

`dtaidistance` fills the cumulative cost matrix in C, and the path is traced back through it: 10 ms for 600×450
samples. Its faster `warping_path` is not used: with version 2.5.1 and Euclidean distances it gave a path
longer than the optimum, by up to 26 %, in 222 of 400 random cases against a textbook DTW; with a window even the
matrix was wrong in 5 %. Without a window the matrix was exact in all cases, so there is no hard window here: a
weak time channel (`tracks.WarpConfig.time_weight`) does its work.

Robot time is the reference: every robot frame gets one human frame, so that human frames are repeated or
dropped (paper A.1).
"""

import numpy as np
from dtaidistance import dtw, dtw_ndim


def warping_path(robot: np.ndarray, human: np.ndarray) -> np.ndarray:
    """(P, 2) int64 path of (robot, human) samples with the least sum of Euclidean distances, both ends matched.

    Args:
        robot: (M, D) finite.
        human: (N, D) finite.

    Raises:
        ValueError: a value is not finite (the C library would return a wrong path without a word).
    """
    if not (np.isfinite(robot).all() and np.isfinite(human).all()):
        raise ValueError("DTW needs finite sequences; found NaN or infinity: interpolate or mask them first")
    _, costs = dtw_ndim.warping_paths(
        np.ascontiguousarray(robot, dtype=np.float64),
        np.ascontiguousarray(human, dtype=np.float64),
        use_c=True,
        inner_dist="euclidean",
    )
    return np.array(dtw.best_path(costs), dtype=np.int64)


def human_index(path: np.ndarray, robot_frames: int, human_frames: int) -> np.ndarray:
    """(robot_frames,) int64 non-decreasing human frame per robot frame.

    Several human frames matched to one robot frame collapse to their median. A robot frame between two matched
    ones is interpolated. Where the path begins after the first robot frame or ends before the last one, the
    remaining frames lead to the clip's own ends; the human frames that belong there are all matched to the end
    of the path, which therefore takes its innermost match.

    Args:
        path: (P, 2) monotone path of (robot frame, human frame), in frames of the two clips.
    """
    matched = np.unique(path[:, 0])
    first = np.searchsorted(path[:, 0], matched, side="left")
    last = np.searchsorted(path[:, 0], matched, side="right") - 1
    # On a monotone path the median of a run of matches is the mean of its two middle ones.
    chosen = 0.5 * (path[(first + last) // 2, 1] + path[(first + last + 1) // 2, 1])
    if matched[0] > 0:
        chosen[0] = path[last[0], 1]
        matched, chosen = np.insert(matched, 0, 0), np.insert(chosen, 0, 0.0)
    if matched[-1] < robot_frames - 1:
        chosen[-1] = max(path[first[-1], 1], chosen[0])
        matched, chosen = np.append(matched, robot_frames - 1), np.append(chosen, human_frames - 1.0)
    index = np.interp(np.arange(robot_frames), matched, chosen)
    return np.rint(index).astype(np.int64)
