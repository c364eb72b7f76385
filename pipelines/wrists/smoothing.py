"""Smoothing of a wrist track that does not shift events in time.

At every sighting a straight line is fitted to the sightings around it, Gaussian-weighted in time, and its value there
is taken. The weights are symmetric, so a moment of contact or of release stays where it is; a causal filter of the
same strength would delay it. A line instead of a mean keeps the ends of the track from being pulled inwards.
Frames without a sighting stay without.
"""

import numpy as np


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
    offset_MM = at[None] - at[:, None]
    weight_MM = np.exp(-0.5 * (offset_MM / sigma) ** 2)
    weight_MM /= weight_MM.sum(axis=1, keepdims=True)
    mean_offset = (weight_MM * offset_MM).sum(axis=1)
    spread = (weight_MM * offset_MM**2).sum(axis=1) - mean_offset**2
    mean = weight_MM @ known
    covariance = (weight_MM * offset_MM) @ known - mean_offset[:, None] * mean
    # A sighting far from all others has no slope of its own.
    slope = np.where(spread[:, None] > 1e-6 * sigma**2, covariance / np.maximum(spread, 1e-12)[:, None], 0.0)
    smoothed[seen] = mean - mean_offset[:, None] * slope
    return smoothed
