"""Where points of an object go, told by other points of the same object.

Two annotators choose different keypoints on one object; ground truth follows yet others. To compare them, a
point of one is carried along by the motion of the other's points, locally: by the similarity that maps them
best (weighted least squares), near points weighing more.
"""

import numpy as np


def carry(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(T, N, 2) where `points` (N, 2) go when the object's points `start` (K, 2) go to `end` (T, K, 2).

    Points of `end` that are NaN do not count; the result is NaN where fewer than two are left.

    *Convention*: pixels (x, y); complex numbers stand for them, so that a similarity is one multiplication.
    """
    spread = max(3.0, 0.25 * float(np.ptp(start, axis=0).max()))
    distance = np.linalg.norm(points[:, None] - start[None], axis=-1)
    nearness_NK = np.exp(-0.5 * (distance / spread) ** 2) + 0.02
    known_TK = np.asarray(np.isfinite(end).all(axis=-1))
    weight_TNK = nearness_NK[None] * known_TK[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        weight_TNK = weight_TNK / weight_TNK.sum(axis=-1, keepdims=True)
        query_N, from_K = points @ [1, 1j], start @ [1, 1j]
        to_TK = np.where(known_TK[..., None], end, 0.0) @ [1, 1j]
        mean_from = weight_TNK @ from_K
        mean_to = np.einsum("tnk,tk->tn", weight_TNK, to_TK)
        offset = from_K - mean_from[..., None]
        turn = (weight_TNK * offset.conj() * (to_TK[:, None] - mean_to[..., None])).sum(-1) / (
            (weight_TNK * np.abs(offset) ** 2).sum(-1) + 1e-9
        )
    place = mean_to + turn * (query_N - mean_from)
    carried = np.stack([place.real, place.imag], axis=-1)
    carried[known_TK.sum(axis=1) < 2] = np.nan
    return carried
