"""95 % intervals: bootstrap over pairs, and Wilson's for success rates.

Every figure of the representation is a mean of one number per pair, so one function serves them all. Pairs are drawn
anew, the gallery that they are ranked in stays: drawing the gallery too would put a video in twice, and a copy of a
partner ties with it. Two rows are compared by the interval of their difference pair by pair, which is far narrower
than the two intervals suggest, because both rows stumble over the same pairs.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

RESAMPLES = 10_000


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float

    def text(self, digits: int = 1) -> str:
        """`61.8 [54.3, 69.4]`."""
        return f"{self.mean:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def bootstrap_mean(values: np.ndarray, seed: int = 0) -> Estimate:
    """Mean of (N,) values, one per pair, with the percentile bootstrap's 95 % interval.

    For the difference of two rows give the differences of their values, pair by pair.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(values), size=(RESAMPLES, len(values)), dtype=np.int32)
    low, high = np.percentile(values[drawn].mean(axis=1), (2.5, 97.5))
    return Estimate(float(values.mean()), float(low), float(high))


def wilson(successes: int, trials: int) -> Estimate:
    """Percent of independent trials that succeeded, with Wilson's 95 % interval, which holds near 0 and 100 % too."""
    interval = binomtest(successes, trials).proportion_ci(0.95, "wilson")
    return Estimate(100 * successes / trials, 100 * interval.low, 100 * interval.high)
