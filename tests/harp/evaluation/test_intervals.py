"""Bootstrap intervals against the normal approximation, what pairing rows gains, and success rates."""

import numpy as np
import pytest

from harp.evaluation.intervals import bootstrap_mean, wilson


def test_agrees_with_the_normal_approximation():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    estimate = bootstrap_mean(values)
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_covers_the_true_mean_about_95_times_in_100():
    rng = np.random.default_rng(1)
    samples = 100.0 * (rng.uniform(size=(200, 93)) < 0.6)
    inside = [(e := bootstrap_mean(sample)).low <= 60 <= e.high for sample in samples]
    assert 0.89 <= np.mean(inside) <= 0.99


def test_the_same_seed_gives_the_same_interval():
    values = np.arange(20.0)
    assert bootstrap_mean(values) == bootstrap_mean(values)


def test_pairs_that_both_rows_find_hard_do_not_blur_their_difference():
    rng = np.random.default_rng(2)
    hard = rng.uniform(size=93) < 0.5
    better, worse = 100.0 * ~hard, 100.0 * (~hard & (rng.uniform(size=93) < 0.9))
    difference = bootstrap_mean(better - worse)
    assert difference.low > 0
    assert bootstrap_mean(worse).high > bootstrap_mean(better).low


def test_success_rates_have_wilsons_interval():
    z, n = 1.959964, 60
    for successes in (0, 7, 60):
        p = successes / n
        middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        estimate = wilson(successes, n)
        assert estimate.mean == pytest.approx(100 * p)
        assert (estimate.low, estimate.high) == pytest.approx((100 * (middle - half), 100 * (middle + half)))
