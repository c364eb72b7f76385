"""Projection of the end effector: an independent formula, and what becomes of a pose that does not tell."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_schemas.cues import WristTrack
from data_schemas.demonstrations import Demonstration
from data_schemas.errors import BadInput
from pipelines.inputs import VideoInput
from pipelines.wrists.projection import ProjectionAnnotator, ProjectionConfig, positions_at, project

K = np.array([[300.0, 0, 160], [0, 310.0, 120], [0, 0, 1]])
CONFIG = ProjectionConfig(max_pose_gap_s=0.5, tolerance_s=0.05)

metres = st.floats(-2, 2)
focal = st.floats(50, 900)


@pytest.fixture
def annotate(make_demonstration: Callable[..., Demonstration]) -> Callable[..., WristTrack]:
    def run(positions: np.ndarray, times: np.ndarray | None = None, **changes: object) -> WristTrack:
        times = np.arange(len(positions)) / 10 if times is None else times
        poses = np.column_stack([positions, np.tile([1.0, 0, 0, 0], (len(positions), 1))])
        fields = {"intrinsics": K.ravel(), "effector_times": times, "effector_poses": poses}
        row = make_demonstration(**{**fields, **changes})
        return ProjectionAnnotator(CONFIG).annotate(VideoInput(row, Path()))

    return run


@given(st.tuples(metres, metres, st.floats(0.01, 5)), st.tuples(focal, focal, metres, metres))
def test_projection_is_the_intersection_of_a_ray_with_the_image_plane(
    position: tuple[float, float, float], camera: tuple[float, float, float, float]
) -> None:
    (x, y, z), (fx, fy, cx, cy) = position, camera
    points, behind = project(np.array([[x, y, z]]), np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]))
    assert not behind[0]
    # The ray through a pixel meets the plane Z = z in the point that was projected.
    u, v = points[0]
    np.testing.assert_allclose([(u - cx) / fx * z, (v - cy) / fy * z], [x, y], atol=1e-9)


@given(metres, metres, st.floats(-5, 0))
def test_nothing_behind_the_camera_gets_a_pixel(x: float, y: float, z: float) -> None:
    points, behind = project(np.array([[x, y, z]]), K)
    assert behind[0]
    assert np.isnan(points).all()


@given(
    st.lists(st.floats(0.001, 0.9), min_size=1, max_size=8),
    st.lists(st.floats(-1, 6), min_size=1, max_size=20),
)
@settings(deadline=None)
def test_interpolation_equals_a_search_pose_by_pose(steps: list[float], times: list[float]) -> None:
    pose_times = np.cumsum(steps)
    positions = np.random.default_rng(len(steps)).normal(size=(len(steps), 3))
    ours = positions_at(np.array(times), pose_times, positions, CONFIG)
    for t, position in zip(times, ours, strict=True):
        expected = None
        for i, s in enumerate(pose_times):
            if s == t:
                expected = positions[i]
        for i in range(len(pose_times) - 1):
            a, b = pose_times[i], pose_times[i + 1]
            if expected is None and a < t < b and b - a <= CONFIG.max_pose_gap_s:
                expected = positions[i] * (b - t) / (b - a) + positions[i + 1] * (t - a) / (b - a)
        if expected is None:
            i = min(range(len(pose_times)), key=lambda i: abs(pose_times[i] - t))
            if abs(pose_times[i] - t) <= CONFIG.tolerance_s:
                expected = positions[i]
        if expected is None:
            assert np.isnan(position).all()
        else:
            np.testing.assert_allclose(position, expected, atol=1e-9)


def test_flags_say_where_the_effector_is(annotate: Callable[..., WristTrack]) -> None:
    # Ahead, to the right of the picture, behind the camera, ahead again; poses end after 0.9 s of 1.4 s.
    x = np.array([0, 0, 0.1, 5, 5, 0, 0, 0, 0, 0])
    z = np.array([1, 1, 1, 1, 1, -1, -1, 1, 1, 1])
    positions = np.column_stack([x, np.zeros(10), z]).astype(float)
    track = annotate(positions, timestamps=np.arange(14) / 10 + 0.0, num_frames=14)
    assert track.flags == [
        *["found"] * 3,
        *["out_of_frame"] * 2,
        *["behind_camera"] * 2,
        *["found"] * 3,
        *["no_pose"] * 4,
    ]
    np.testing.assert_array_equal(track.visible, [flag == "found" for flag in track.flags])
    np.testing.assert_array_equal(track.visibility, track.visible.astype(np.float32))
    np.testing.assert_allclose(track.points[2], [300 * 0.1 + 160, 120], atol=1e-4)
    np.testing.assert_allclose(track.points[3], [300 * 5 + 160, 120], rtol=1e-6)
    assert np.isnan(track.points[5:7]).all()
    assert np.isnan(track.points[10:]).all()
    assert track.source == "projection"


def test_a_long_gap_in_the_poses_is_not_bridged(annotate: Callable[..., WristTrack]) -> None:
    times = np.array([0.0, 0.1, 0.9])
    track = annotate(np.tile([0.0, 0, 1], (3, 1)), times)
    assert track.flags == ["found", "found", *["no_pose"] * 7, "found"]


@pytest.mark.parametrize("missing", [{"intrinsics": np.empty(0)}, {"effector_times": np.empty(0)}])
def test_without_calibration_or_poses_the_track_is_masked(
    annotate: Callable[..., WristTrack], missing: dict[str, np.ndarray]
) -> None:
    track = annotate(np.tile([0.0, 0, 1], (10, 1)), **missing)
    assert track.flags == ["no_pose"] * 10
    assert not track.visible.any()
    assert np.isnan(track.points).all()


@pytest.mark.parametrize(
    ("positions", "times"),
    [
        (np.array([[0.0, 0, 1], [np.nan, 0, 1]]), np.array([0.0, 0.1])),
        (np.array([[0.0, 0, 1], [0, 0, 1]]), np.array([0.1, 0.1])),
        (np.array([[0.0, 0, 1], [0, 0, 1]]), np.array([0.0, 0.1, 0.2])),
    ],
)
def test_broken_poses_are_bad_input(
    annotate: Callable[..., WristTrack], positions: np.ndarray, times: np.ndarray
) -> None:
    with pytest.raises(BadInput, match="bad_effector_poses"):
        annotate(positions, times)
