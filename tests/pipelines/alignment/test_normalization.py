"""Bridging of gaps, smoothing, normalization and the view fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.alignment.normalization import (
    MAX_SAMPLES,
    fit_view,
    motion,
    normalized,
    prepare_track,
    usable_frames,
)

TIMES = np.arange(20) / 10.0


def line(count: int = 20) -> np.ndarray:
    return np.column_stack([np.arange(count, dtype=float), 2.0 * np.arange(count)])


def test_invisible_or_nan_is_not_usable() -> None:
    points = line(4)
    points[1, 0] = np.nan
    usable = usable_frames(points, np.array([True, True, False, True]))
    assert usable.tolist() == [True, False, False, True]


def test_gaps_are_bridged() -> None:
    points, usable = line(), np.ones(20, dtype=bool)
    usable[3:5] = usable[10:16] = False
    points[~usable] = np.nan
    track = prepare_track(points, usable, TIMES, 0.0)
    assert track.frames.tolist() == list(range(20))
    # The bridges lie on the line.
    np.testing.assert_allclose(
        track.values, prepare_track(line(), np.ones(20, dtype=bool), TIMES, 0.0).values
    )


def test_what_lies_outside_the_first_and_last_sighting_is_left_out() -> None:
    usable = np.zeros(20, dtype=bool)
    usable[5:12] = True
    track = prepare_track(line(), usable, TIMES, 0.1)
    assert track.frames.tolist() == list(range(5, 12))
    assert track.num_frames == 20


def test_hidden_values_have_no_influence() -> None:
    points, usable = line(), np.ones(20, dtype=bool)
    usable[7] = False
    wild = points.copy()
    wild[7] = 1e6
    tracks = [prepare_track(p, usable, TIMES, 0.1) for p in (points, wild)]
    np.testing.assert_array_equal(tracks[0].values, tracks[1].values)


@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100), shift=st.floats(-1000, 1000))
@settings(max_examples=50, deadline=None)
def test_size_and_place_of_the_image_cancel(seed: int, scale: float, shift: float) -> None:
    points = np.random.default_rng(seed).normal(size=(20, 2)).cumsum(axis=0)
    usable = np.ones(20, dtype=bool)
    a = prepare_track(points, usable, TIMES, 0.1)
    b = prepare_track(points * scale + shift, usable, TIMES, 0.1)
    np.testing.assert_allclose(a.values, b.values, atol=1e-6)
    assert np.sqrt((a.values**2).sum(axis=1).mean()) == pytest.approx(1.0)


def test_smoothing_lowers_noise_and_keeps_the_motion() -> None:
    rng = np.random.default_rng(0)
    times = np.arange(300) / 30.0
    clean = np.column_stack([np.sin(times), np.cos(times)])
    noisy = clean + rng.normal(scale=0.05, size=clean.shape)
    track = prepare_track(noisy, np.ones(300, dtype=bool), times, 0.1)
    error = np.abs(track.values - normalized(clean)).mean()
    assert error < 0.5 * np.abs(normalized(noisy) - normalized(clean)).mean()


def test_a_still_track_and_a_single_frame_give_zeros() -> None:
    still = prepare_track(np.full((20, 2), 57.3), np.ones(20, dtype=bool), TIMES, 0.1)
    assert not still.values.any()
    single = prepare_track(np.array([[3.0, 4.0]]), np.array([True]), np.zeros(1), 0.1)
    assert single.values.tolist() == [[0.0, 0.0]]
    assert motion(single.values, single.times).tolist() == [[0.0, 0.0]]


def test_motion_does_not_depend_on_pace() -> None:
    points = normalized(np.column_stack([np.sin(TIMES), TIMES**2]))
    np.testing.assert_allclose(motion(points, TIMES), motion(points, 3.0 * TIMES), atol=1e-9)
    assert (np.linalg.norm(motion(points, TIMES), axis=1) < 1.0).all()


def test_view_fit_finds_the_affine_map() -> None:
    rng = np.random.default_rng(3)
    human = rng.normal(size=(50, 2))
    truth = np.array([[1.2, -0.3], [0.2, 0.7], [0.1, -0.4]])
    robot = np.column_stack([human, np.ones(50)]) @ truth
    np.testing.assert_allclose(fit_view(human, robot, ridge=0.0), truth, atol=1e-9)
    pulled = fit_view(human, robot, ridge=1e6)
    np.testing.assert_allclose(pulled[:2], np.eye(2), atol=1e-4)


def test_long_clips_are_thinned() -> None:
    count = 3 * MAX_SAMPLES
    points = np.random.default_rng(0).normal(size=(count, 2)).cumsum(axis=0)
    track = prepare_track(points, np.ones(count, dtype=bool), np.arange(count) / 30, 0.0)
    assert len(track.frames) == len(track.values) == MAX_SAMPLES
    assert (track.frames[0], track.frames[-1]) == (0, count - 1)
    assert (np.diff(track.frames) > 0).all()
