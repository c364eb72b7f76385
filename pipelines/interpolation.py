"""Between the samples of a recording: where they tell what was, and where a value would be invented."""

import numpy as np


def neighbours(
    sample_times: np.ndarray, times: np.ndarray, max_gap_s: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The samples around moments, which are one sample at the sample's own time.

    Args:
        sample_times: (M,) seconds, in order, M >= 1.
        times: (N,) seconds.
        max_gap_s: nothing is known between samples further apart, nor before the first and after the last.

    Returns:
        (N,) index of the sample before; (N,) of the one after; (N,) whether they tell what was in between.
    """
    last = len(sample_times) - 1
    after = np.clip(np.searchsorted(sample_times, times), 0, last)
    before = np.clip(np.searchsorted(sample_times, times, side="right") - 1, 0, last)
    gap = sample_times[after] - sample_times[before]
    known = (sample_times[before] <= times) & (times <= sample_times[after]) & (gap <= max_gap_s)
    return before, after, known
