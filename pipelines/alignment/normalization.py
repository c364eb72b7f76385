"""From a raw track to a sequence that dynamic time warping can compare across two cameras.

A human wrist and a robot end effector are different points seen by different cameras, with detector noise,
missing frames and irregular clocks. In order:

1. frames that were not seen are bridged linearly, those before the first and after the last sighting left out
   (leaving out every long gap was worse: with 2 s of 5 missing 7 instead of 4 % of the clip's length, since DTW
   would rather squeeze the neighbours than jump);
2. positions are smoothed with a Gaussian in time, so that detector noise does not pass for motion;
3. the track is centred and divided by its spread, so that image size and distance to the camera cancel;
4. a channel of velocity, `v / sqrt(|v|² + rms²)`, tells coming from going and moving from dwelling where the
   position alone is the same.

Every result is finite: `dtaidistance` turns one NaN into a silently wrong path.
"""

from dataclasses import dataclass

import numpy as np

MAX_SAMPLES = 2000
"""Longer sequences are thinned to this many frames: the DTW matrix of 2000×2000 takes 32 MB."""


@dataclass(frozen=True)
class Track:
    """The frames of a clip that take part in the alignment, with finite normalized values.

    frames: (M,) int64, increasing frame numbers of the clip.
    times: (M,) seconds.
    values: (M, D), zero mean, unit spread (root of the mean squared distance from the centre).
    num_frames: of the clip.
    """

    frames: np.ndarray
    times: np.ndarray
    values: np.ndarray
    num_frames: int


def usable_frames(points: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """(T,) bool: said to be visible, and finite in every coordinate of `points` (T, D)."""
    return visible & np.isfinite(points).all(axis=1)


def prepare_track(points: np.ndarray, usable: np.ndarray, times: np.ndarray, smoothing: float) -> Track:
    """Bridge, smooth and normalize one track.

    Args:
        points: (T, D) positions or features; ignored, and possibly NaN, where not `usable`.
        usable: (T,) bool, at least one True.
        times: (T,) seconds, strictly increasing.
        smoothing: standard deviation of the Gaussian, seconds; 0 leaves the positions as they are.
    """
    seen = np.flatnonzero(usable)
    frames = np.arange(seen[0], seen[-1] + 1)
    if len(frames) > MAX_SAMPLES:
        frames = frames[np.linspace(0, len(frames) - 1, MAX_SAMPLES).round().astype(int)]
    at = times[frames]
    values = np.stack([np.interp(at, times[seen], column) for column in points[seen].T.astype(float)], axis=1)
    return Track(frames, at, normalized(_smoothed(values, at, smoothing)), len(points))


def normalized(values: np.ndarray) -> np.ndarray:
    """Zero mean and unit spread; a sequence that does not move becomes all zeros."""
    centred = values - values.mean(axis=0)
    spread = np.sqrt((centred**2).sum(axis=1).mean())
    return (
        centred / spread if spread > 1e-9 * max(1.0, float(np.abs(values).max())) else np.zeros_like(values)
    )


def motion(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(M, D) velocity that saturates at length 1: direction where fast, near zero where dwelling.

    Divided by the track's own root mean square speed, so that a slower demonstration gives the same values.
    """
    if len(values) < 2:
        return np.zeros_like(values)
    velocity = np.gradient(values, times, axis=0)
    squared = (velocity**2).sum(axis=1, keepdims=True)
    return velocity / np.sqrt(squared + squared.mean() + 1e-12)


def fit_view(human: np.ndarray, robot: np.ndarray, ridge: float) -> np.ndarray:
    """(D + 1, D) affine map from matched human to robot positions, pulled towards the identity.

    Minimizes `mean |[human, 1] A − robot|² + ridge |A_linear − I|²`. The pull keeps a wrong first alignment from
    flattening the track onto a line or a point.
    """
    count, size = human.shape
    source = np.column_stack([human, np.ones(count)])
    pull = ridge * count * np.diag([*np.ones(size), 0.0])
    prior = np.vstack([np.eye(size), np.zeros(size)])
    return np.linalg.solve(source.T @ source + pull, source.T @ robot + pull @ prior)


def _smoothed(values: np.ndarray, times: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian-weighted mean in time: irregular clocks and left-out frames need no special case."""
    if sigma <= 0:
        return values
    weights = np.exp(-0.5 * ((times[:, None] - times[None]) / sigma) ** 2)
    return weights @ values / weights.sum(axis=1, keepdims=True)
