"""The C library's path against a textbook DTW, and the rule that gives one human frame per robot frame."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.alignment.dtw import human_index, warping_path
from tests.pipelines.alignment.reference_dtw import path_length, reference_dtw


def random_sequences(seed: int, rows: int, columns: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, size)).cumsum(axis=0), rng.normal(size=(columns, size)).cumsum(axis=0)


@given(
    seed=st.integers(0, 10_000), rows=st.integers(1, 40), columns=st.integers(1, 40), size=st.integers(1, 5)
)
@settings(max_examples=200, deadline=None)
def test_path_is_optimal(seed: int, rows: int, columns: int, size: int) -> None:
    a, b = random_sequences(seed, rows, columns, size)
    path = warping_path(a, b)
    assert path_length(path, a, b) == pytest.approx(reference_dtw(a, b))
    assert path[0].tolist() == [0, 0]
    assert path[-1].tolist() == [rows - 1, columns - 1]
    assert {tuple(step) for step in np.diff(path, axis=0).tolist()} <= {(1, 1), (1, 0), (0, 1)}


def test_identical_sequences_give_the_diagonal() -> None:
    a, _ = random_sequences(1, 30, 1, 2)
    path = warping_path(a, a)
    np.testing.assert_array_equal(path[:, 0], path[:, 1])
    np.testing.assert_array_equal(human_index(path, 30, 30), np.arange(30))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refuses_what_is_not_finite(bad: float) -> None:
    a, b = random_sequences(2, 10, 12, 2)
    b[3, 1] = bad
    with pytest.raises(ValueError, match="finite"):
        warping_path(a, b)


def test_several_human_frames_collapse_to_their_median() -> None:
    path = np.array([[0, 0], [1, 1], [1, 2], [1, 3], [2, 4], [3, 4]])
    assert human_index(path, 4, 5).tolist() == [0, 2, 4, 4]


def test_frames_off_the_path_lie_between_their_neighbours() -> None:
    path = np.array([[0, 0], [1, 2], [5, 10], [6, 12]])
    assert human_index(path, 7, 13).tolist() == [0, 2, 4, 6, 8, 10, 12]


def test_frames_before_and_after_the_path_lead_to_the_ends_of_the_clips() -> None:
    path = np.array([[4, 8], [5, 10]])
    assert human_index(path, 9, 17).tolist() == [0, 2, 4, 6, 8, 10, 12, 14, 16]


def test_an_end_of_the_path_inside_the_clip_takes_its_innermost_match() -> None:
    path = np.array([[2, 0], [2, 1], [2, 2], [3, 3], [4, 4], [4, 5], [4, 6]])
    assert human_index(path, 7, 7).tolist() == [0, 1, 2, 3, 4, 5, 6]


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 30))
@settings(max_examples=80, deadline=None)
def test_index_is_monotone_and_inside_the_clip(seed: int, robot_frames: int, human_frames: int) -> None:
    rng = np.random.default_rng(seed)
    robot = np.flatnonzero(rng.random(robot_frames) < 0.6)
    human = np.flatnonzero(rng.random(human_frames) < 0.6)
    if len(robot) == 0 or len(human) == 0:
        return
    a, b = random_sequences(seed, len(robot), len(human), 2)
    path = warping_path(a, b)
    index = human_index(np.column_stack([robot[path[:, 0]], human[path[:, 1]]]), robot_frames, human_frames)
    assert index.shape == (robot_frames,)
    assert (np.diff(index) >= 0).all()
    assert index[0] >= 0
    assert index[-1] < human_frames
