"""Smoothing of wrist tracks: noise goes, events stay where they are in time."""

import tracemalloc

import numpy as np
import pytest

from pipelines.wrists.smoothing import smooth

RNG = np.random.default_rng(0)
TIMES = np.sort(np.arange(120) / 10 + RNG.uniform(-0.02, 0.02, 120))
SIGMA = 0.25


def delayed(points: np.ndarray, strength: float = 0.35) -> np.ndarray:
    """Exponential smoothing, which looks back only: what these tests must be able to tell apart."""
    out = points.copy()
    for t in range(1, len(out)):
        out[t] = strength * out[t] + (1 - strength) * out[t - 1]
    return out


def crossing(values: np.ndarray, level: float) -> float:
    """Time at which `values` first exceed `level`, linear between samples."""
    after = int(np.argmax(values > level))
    share = (level - values[after - 1]) / (values[after] - values[after - 1])
    return float(TIMES[after - 1] + share * (TIMES[after] - TIMES[after - 1]))


def test_a_step_stays_at_its_time() -> None:
    x = 100 / (1 + np.exp(-(TIMES - 6.0) / 0.05))
    points = np.column_stack([x, x])
    assert crossing(smooth(points, TIMES, SIGMA)[:, 0], 50) == pytest.approx(6.0, abs=0.02)
    assert crossing(delayed(points)[:, 0], 50) > 6.08


def test_a_moment_of_turning_stays_at_its_time() -> None:
    """A hand that goes down to an object and up again: the lowest point is the contact."""
    x = np.abs(TIMES - 6.0)
    points = np.column_stack([x, x])
    assert TIMES[np.argmin(smooth(points, TIMES, SIGMA)[:, 0])] == pytest.approx(6.0, abs=0.06)
    assert TIMES[np.argmin(delayed(points, 0.2)[:, 0])] > 6.1


def test_straight_motion_is_left_alone_also_at_the_ends() -> None:
    points = np.column_stack([3 * TIMES - 5, 40 - 2 * TIMES])
    np.testing.assert_allclose(smooth(points, TIMES, SIGMA), points, atol=1e-8)


def test_noise_goes() -> None:
    truth = np.column_stack([100 * np.sin(TIMES), 50 * np.cos(0.5 * TIMES)])
    noisy = truth + RNG.normal(scale=3, size=truth.shape)
    before, after = (np.abs(p - truth).mean() for p in (noisy, smooth(noisy, TIMES, 0.15)))
    assert after < 0.65 * before


def test_frames_without_a_sighting_stay_without_and_do_not_matter() -> None:
    points = np.column_stack([TIMES, TIMES**2])
    points[30:40] = np.nan
    smoothed = smooth(points, TIMES, SIGMA)
    np.testing.assert_array_equal(np.isnan(smoothed), np.isnan(points))
    seen = np.isfinite(points[:, 0])
    np.testing.assert_allclose(smoothed[seen], smooth(points[seen], TIMES[seen], SIGMA))
    lonely = np.full((120, 2), np.nan)
    lonely[[3, 90]] = [[1, 2], [3, 4]]
    np.testing.assert_allclose(smooth(lonely, TIMES, SIGMA)[[3, 90]], [[1, 2], [3, 4]])


def test_zero_means_as_found() -> None:
    points = RNG.normal(size=(120, 2))
    np.testing.assert_array_equal(smooth(points, TIMES, 0.0), points)


def test_a_long_film_takes_little_memory_and_gives_the_same() -> None:
    times = np.cumsum(RNG.uniform(0.02, 0.05, 5000))
    points = RNG.normal(size=(5000, 2)).cumsum(axis=0)
    points[700:760] = np.nan
    tracemalloc.start()
    smoothed = smooth(points, times, SIGMA)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6
    for t in (0, 511, 512, 699, 3000, 4999):
        design = np.column_stack([np.ones(len(times)), times - times[t]])
        known = np.isfinite(points[:, 0])
        root = np.exp(-0.25 * ((times - times[t]) / SIGMA) ** 2)[known, None]
        line = np.linalg.lstsq(root * design[known], root * points[known], rcond=None)[0]
        np.testing.assert_allclose(smoothed[t], line[0], atol=1e-9)
    assert np.isnan(smoothed[700:760]).all()
