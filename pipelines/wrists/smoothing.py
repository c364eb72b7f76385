"""Smoothing of a wrist track that does not shift events in time.

At every sighting a straight line is fitted to the sightings around it, Gaussian-weighted in time, and its value there
is taken. The weights are symmetric, so a moment of contact or of release stays where it is; a causal filter of the
same strength would delay it. A line instead of a mean keeps the ends of the track from being pulled inwards.
Frames without a sighting stay without.
"""

import numpy as np

CHUNK = 512
"""Sightings at a time: a film of an hour has 100,000, whose weights on each other would take 80 GB."""
REACH = 9.0
"""Standard deviations beyond which a weight is less than the rounding of their sum."""


def smooth(points: np.ndarray, times: np.ndarray, sigma: float) -> np.ndarray:
    """(T, 2) smoothed pixels, NaN where `points` are NaN.

    Args:
        points: (T, 2) pixels, NaN where there is none.
        times: (T,) seconds, increasing, not necessarily evenly.
        sigma: standard deviation of the weights, seconds; 0 leaves the points as they are.
    """
    seen = np.flatnonzero(np.isfinite(points).all(axis=1))
    smoothed = points.copy()
    if sigma <= 0 or len(seen) < 2:
        return smoothed
    at, known = times[seen], points[seen]
    for start in range(0, len(seen), CHUNK):
        part = slice(start, start + CHUNK)
        first, last = np.searchsorted(at, (at[part][0] - REACH * sigma, at[part][-1] + REACH * sigma))
        smoothed[seen[part]] = _fitted(at[part], at[first:last], known[first:last], sigma)
    return smoothed


def _fitted(at: np.ndarray, times: np.ndarray, points: np.ndarray, sigma: float) -> np.ndarray:
    """(N, 2) at times (N,): the lines through `points` (M, 2) of `times` (M,)."""
    offset_NM = times[None] - at[:, None]
    weight_NM = np.exp(-0.5 * (offset_NM / sigma) ** 2)
    weight_NM /= weight_NM.sum(axis=1, keepdims=True)
    mean_offset = (weight_NM * offset_NM).sum(axis=1)
    spread = (weight_NM * offset_NM**2).sum(axis=1) - mean_offset**2
    mean = weight_NM @ points
    covariance = (weight_NM * offset_NM) @ points - mean_offset[:, None] * mean
    # A sighting far from all others has no slope of its own.
    slope = np.where(spread[:, None] > 1e-6 * sigma**2, covariance / np.maximum(spread, 1e-12)[:, None], 0.0)
    return mean - mean_offset[:, None] * slope
