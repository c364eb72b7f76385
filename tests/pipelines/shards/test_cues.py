"""Arrays of a segment against direct indexing and closed forms."""

import dataclasses

import numpy as np
import pytest

from data_schemas.errors import BadInput
from data_schemas.samples import CUE_ARRAYS
from pipelines.shards.cues import action_arrays, side_arrays
from pipelines.shards.stage import Subject
from pipelines.wrists.projection import ProjectionConfig, positions_at


def test_cues_follow_the_frame_index(subjects: list[Subject]) -> None:
    clip = subjects[0].human
    assert clip is not None
    assert clip.wrist is not None
    assert clip.objects is not None
    index = np.array([3, 3, 7, 49])
    arrays = side_arrays(clip, index, num_keypoints=6)
    assert arrays.keys() == CUE_ARRAYS.keys()
    np.testing.assert_array_equal(arrays["wrist"], clip.wrist.points[index])
    np.testing.assert_array_equal(arrays["time"], clip.demonstration.timestamps[index])
    np.testing.assert_array_equal(arrays["object"][:, :4], clip.objects.points[index])
    assert np.isnan(arrays["object"][:, 4:]).all()
    assert arrays["object_visible"][:, :4].all()
    assert not arrays["object_visible"][:, 4:].any()
    assert arrays["frame_size"].tolist() == [96, 64]


def test_missing_cues_are_masked(subjects: list[Subject]) -> None:
    clip = subjects[0].human
    assert clip is not None
    bare = dataclasses.replace(clip, wrist=None, objects=None)
    arrays = side_arrays(bare, np.arange(5), num_keypoints=2)
    assert np.isnan(arrays["wrist"]).all()
    assert not arrays["wrist_visible"].any()
    assert arrays["object"].shape == (5, 2, 2)
    assert np.isnan(arrays["object"]).all()
    assert {name: array.dtype.name for name, array in arrays.items()} == {
        "time": "float64",
        "frame_index": "int64",
        "frame_size": "int64",
        "wrist": "float32",
        "wrist_visibility": "float32",
        "wrist_visible": "bool",
        "object": "float32",
        "object_visibility": "float32",
        "object_visible": "bool",
    }


def test_cues_that_do_not_fit_are_refused(subjects: list[Subject]) -> None:
    clip, other = subjects[0].human, subjects[1].human
    assert clip is not None
    assert other is not None
    with pytest.raises(BadInput, match="frame_out_of_range"):
        side_arrays(clip, np.array([0, 50]), 4)
    with pytest.raises(BadInput, match="too_many_keypoints"):
        side_arrays(clip, np.arange(3), 3)
    with pytest.raises(BadInput, match="track_length: wrist track of 30 frames, video of 50"):
        side_arrays(dataclasses.replace(clip, wrist=other.wrist), np.arange(3), 4)


def turn(angle: float) -> list[float]:
    """Quaternion wxyz of a turn about z."""
    return [np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)]


def test_poses_are_interpolated_on_the_arc_and_unknown_outside(subjects: list[Subject]) -> None:
    robot = subjects[0].robot
    assert robot is not None
    # The second quaternion has the opposite sign: the same orientation, and the arc must be the short one.
    poses = np.array([[0, 0, 1, *turn(0.0)], [2, 4, 1, *(-np.array(turn(1.2)))], [2, 4, 3, *turn(1.2)]])
    row = dataclasses.replace(
        robot.demonstration,
        effector_times=np.array([1.0, 2.0, 3.0]),
        effector_poses=poses,
        gripper_times=np.array([0.0, 2.0]),
        gripper_widths=np.array([0.0, 0.08]),
    )
    arrays = action_arrays(row, np.array([0.5, 1.0, 1.25, 2.5, 3.0, 3.01]), max_gap_s=2.0)
    expected = [[0, 0, 1, *turn(0.0)], [0.5, 1, 1, *turn(0.3)], [2, 4, 2, *turn(1.2)], [2, 4, 3, *turn(1.2)]]
    np.testing.assert_allclose(arrays["end_effector_pose"][1:5], expected, atol=1e-12)
    assert np.isnan(arrays["end_effector_pose"][[0, 5]]).all()
    np.testing.assert_allclose(arrays["gripper_width"][:3], [0.02, 0.04, 0.05])
    assert np.isnan(arrays["gripper_width"][3:]).all()


def test_a_broken_pose_spreads_to_its_neighbours_only(subjects: list[Subject]) -> None:
    robot = subjects[0].robot
    assert robot is not None
    poses = np.tile([1.0, 2, 3, 1, 0, 0, 0], (5, 1))
    poses[2, 5] = np.nan
    row = dataclasses.replace(robot.demonstration, effector_times=np.arange(5.0), effector_poses=poses)
    arrays = action_arrays(row, np.array([0.5, 1.5, 2.0, 2.5, 3.5]), max_gap_s=1.0)
    found = np.isfinite(arrays["end_effector_pose"]).all(1)
    assert found.tolist() == [True, False, False, False, True]


def test_nothing_is_invented_in_a_gap_and_the_rule_is_the_projections(subjects: list[Subject]) -> None:
    robot = subjects[0].robot
    assert robot is not None
    readings = np.array([0.0, 0.1, 0.6, 5.0, 5.1])
    poses = np.column_stack([readings, np.zeros((5, 2)), np.tile(turn(0.3), (5, 1))])
    row = dataclasses.replace(
        robot.demonstration,
        effector_times=readings,
        effector_poses=poses,
        gripper_times=readings,
        gripper_widths=readings / 100,
    )
    times = np.array([0.05, 0.1, 0.35, 0.6, 0.7, 2.8, 4.9, 5.0, 5.05])
    known = [True, True, True, True, False, False, False, True, True]
    arrays = action_arrays(row, times, max_gap_s=0.5)
    assert np.isfinite(arrays["end_effector_pose"]).all(1).tolist() == known
    assert np.isnan(arrays["end_effector_pose"]).all(1).tolist() == [not k for k in known]
    np.testing.assert_allclose(arrays["end_effector_pose"][known, 0], times[known])
    np.testing.assert_allclose(arrays["gripper_width"], np.where(known, times / 100, np.nan))
    config = ProjectionConfig(max_pose_gap_s=0.5, tolerance_s=0.0)
    np.testing.assert_allclose(
        arrays["end_effector_pose"][:, :3], positions_at(times, readings, poses[:, :3], config)
    )


def test_unknown_actions_are_nan(subjects: list[Subject]) -> None:
    robot = subjects[0].robot
    assert robot is not None
    row = dataclasses.replace(
        robot.demonstration, effector_times=np.zeros(0), effector_poses=np.zeros((0, 7))
    )
    arrays = action_arrays(row, np.arange(4.0), max_gap_s=1.0)
    assert arrays["end_effector_pose"].shape == (4, 7)
    assert np.isnan(arrays["end_effector_pose"]).all()
    assert np.isnan(arrays["gripper_width"]).all()
