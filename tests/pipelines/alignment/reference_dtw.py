"""Dynamic time warping as one writes it from the textbook: the oracle for the C library."""

import numpy as np


def reference_dtw(a: np.ndarray, b: np.ndarray) -> float:
    """Least total Euclidean distance over monotone paths from (0, 0) to the end, steps (1,1), (1,0), (0,1)."""
    rows, columns = len(a), len(b)
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    for i in range(rows):
        for j in range(columns):
            before = min(total[i, j], total[i, j + 1], total[i + 1, j])
            total[i + 1, j + 1] = np.linalg.norm(a[i] - b[j]) + before
    return float(total[rows, columns])


def path_length(path: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Total distance along a path (P, 2)."""
    return float(np.linalg.norm(a[path[:, 0]] - b[path[:, 1]], axis=1).sum())
