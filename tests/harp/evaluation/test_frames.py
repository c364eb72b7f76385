"""Frames of the protocol: evenly spaced, one horizon, each read once."""

from types import SimpleNamespace
from typing import Any

import pytest

from harp.evaluation.frames import plan_frames


def pair(frames: int, fps: float = 5.0) -> Any:
    return SimpleNamespace(num_frames=frames, fps=fps)


def test_places_point_at_evenly_spaced_frames_and_transitions():
    plan = plan_frames(pair(33), num_frames=5, horizon_seconds=1.0, num_transitions=3)
    assert [plan.frames[i] for i in plan.video] == [0, 8, 16, 24, 32]
    assert [(plan.frames[i], plan.frames[j]) for i, j in plan.transitions] == [(0, 5), (14, 19), (27, 32)]
    assert list(plan.frames) == sorted(set(plan.frames))


@pytest.mark.parametrize("fps", [5.0, 10.0, 30.0])
def test_the_horizon_is_in_seconds(fps):
    plan = plan_frames(pair(200, fps), num_frames=2, horizon_seconds=1.0, num_transitions=4)
    assert {(plan.frames[j] - plan.frames[i]) / fps for i, j in plan.transitions} == {1.0}


def test_a_clip_shorter_than_the_horizon_is_one_transition_from_end_to_end():
    plan = plan_frames(pair(3), num_frames=4, horizon_seconds=1.0, num_transitions=2)
    assert [(plan.frames[i], plan.frames[j]) for i, j in plan.transitions] == [(0, 2), (0, 2)]
