"""How far two annotators agree on one demonstration: wrists, object tracks, visibility.

*Convention*: distances are in percent of the frame's width, so that clips of several sizes can be pooled.
Nothing here says who is right; ground truth is compared by `benchmarks/cues`.
"""

from dataclasses import dataclass

import numpy as np

from data_schemas.cues import ObjectTrack, WristTrack
from pipelines.objects.carrying import carry


@dataclass(frozen=True)
class Agreement:
    """One cue of one demonstration. NaN where nothing can be compared."""

    distance: float
    """Median distance between the two, percent of the width, over frames in which both say visible."""
    distance_p90: float
    visibility: float
    """0 to 1: 1 - mean difference of the share of points called visible, over all frames."""
    compared_frames: int
    frame_distance: np.ndarray
    """(T,) median distance per frame, percent of the width; NaN where not compared."""


def compare_wrists(a: WristTrack, b: WristTrack, width: int) -> Agreement:
    """Wrist points of two annotators."""
    both = a.visible & b.visible
    distance = np.where(both, np.linalg.norm(a.points - b.points, axis=-1), np.nan)
    return _agreement(distance[:, None], a.visible[:, None], b.visible[:, None], width)


def compare_objects(a: ObjectTrack, b: ObjectTrack, width: int) -> Agreement:
    """Object tracks of two annotators, whose keypoints may differ.

    The points of each are carried from its own box frame by the motion of the other's; where both grounded
    different things, the distance is large.
    """
    distance = np.concatenate([_carried_distance(a, b), _carried_distance(b, a)], axis=1)
    return _agreement(distance, a.visible, b.visible, width)


def _carried_distance(one: ObjectTrack, other: ObjectTrack) -> np.ndarray:
    """(T, N) distance of `one`'s points from where `other`'s motion takes them; NaN where either is hidden.

    Where the other object is a different thing, the points are not on it; the distance between the two
    objects is then added, else a thing that stands still would agree with any other one.
    """
    frame = one.box_frame
    seen = other.visible[frame] & np.isfinite(other.points[frame]).all(axis=-1)
    if seen.sum() < 2:
        seen = np.isfinite(other.points[frame]).all(axis=-1)
    if seen.sum() < 2:
        return np.full(one.visible.shape, np.nan)
    start = other.points[frame, seen].astype(np.float64)
    end = np.where(other.visible[:, seen, None], other.points[:, seen], np.nan).astype(np.float64)
    end[frame] = start
    expected = carry(one.points[frame].astype(np.float64), start, end)
    distance = np.linalg.norm(one.points - expected, axis=-1) + _gap(one.points[frame], start)
    comparable = one.visible & (other.visible.mean(axis=1) >= 0.5)[:, None]
    comparable[frame] = True
    return np.where(comparable, distance, np.nan)


def _gap(points: np.ndarray, others: np.ndarray) -> float:
    """Distance between the bounding boxes of two sets of points; 0 where they overlap."""
    apart = np.maximum(points.min(axis=0) - others.max(axis=0), others.min(axis=0) - points.max(axis=0))
    return float(np.linalg.norm(np.maximum(apart, 0)))


def _agreement(distance: np.ndarray, a_visible: np.ndarray, b_visible: np.ndarray, width: int) -> Agreement:
    percent = 100 * distance / width
    compared = np.isfinite(percent)
    per_frame = np.full(len(percent), np.nan)
    for t in np.flatnonzero(compared.any(axis=1)):
        per_frame[t] = np.nanmedian(percent[t])
    every = percent[compared]
    return Agreement(
        distance=float(np.median(every)) if every.size else float("nan"),
        distance_p90=float(np.percentile(every, 90)) if every.size else float("nan"),
        visibility=1 - float(np.abs(a_visible.mean(axis=1) - b_visible.mean(axis=1)).mean()),
        compared_frames=int(compared.any(axis=1).sum()),
        frame_distance=per_frame,
    )
