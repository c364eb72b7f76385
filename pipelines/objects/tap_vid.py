"""TAP-Vid's metrics of point tracks (Doersch et al. 2022, section 5): δ, occlusion accuracy, Average Jaccard.

*Convention*: tracks are (T, N, 2) pixels (x, y) of the original frame; they are scaled to 256 × 256 before
distances are taken, width and height each by its own factor, as published. Metrics are of one video; a data
set's are their mean over videos.
"""

from dataclasses import dataclass

import numpy as np

SIDE = 256.0
THRESHOLDS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Pixels at 256 × 256."""


@dataclass(frozen=True)
class TapVid:
    """Scores of one video, each 0 to 1."""

    delta: np.ndarray
    """(5,) share of truly visible points nearer than each of `THRESHOLDS`, called visible or not."""
    jaccard: np.ndarray
    """(5,) true positives over true positives, false positives and false negatives."""
    occlusion_accuracy: float

    @property
    def delta_average(self) -> float:
        return float(self.delta.mean())

    @property
    def average_jaccard(self) -> float:
        return float(self.jaccard.mean())


def tap_vid(
    points: np.ndarray,
    visible: np.ndarray,
    true_points: np.ndarray,
    true_visible: np.ndarray,
    query_frames: np.ndarray,
    size: tuple[int, int],
    mode: str = "strided",
) -> TapVid:
    """Score predicted `points` (T, N, 2) and `visible` (T, N) against the truth of the same shapes.

    Args:
        query_frames: (N,) frame at which each point was given; it is not scored.
        size: width and height of the frames, pixels.
        mode: `strided` scores all other frames, `first` only those after the query frame.

    Raises:
        ValueError: no such mode.

    A prediction of NaN is never near. Scores are NaN where nothing is scored.
    """
    frames = np.arange(len(points))[:, None]
    if mode == "strided":
        scored = frames != query_frames
    elif mode == "first":
        scored = frames > query_frames
    else:
        raise ValueError(f"Unknown query mode '{mode}': expected 'strided' or 'first'.")
    distance = np.linalg.norm((points - true_points) * (SIDE / np.asarray(size, float)), axis=-1)
    near = np.nan_to_num(distance, nan=np.inf)[None] < np.array(THRESHOLDS)[:, None, None]
    positives = np.count_nonzero(true_visible & scored)
    hits = near & true_visible & scored
    false_alarms = visible & scored & ~(near & true_visible)
    with np.errstate(invalid="ignore", divide="ignore"):
        return TapVid(
            delta=np.divide(hits.sum(axis=(1, 2)), positives),
            jaccard=(hits & visible).sum(axis=(1, 2)) / (positives + false_alarms.sum(axis=(1, 2))),
            occlusion_accuracy=float(np.float64(((visible == true_visible) & scored).sum()) / scored.sum()),
        )
