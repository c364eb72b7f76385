"""Keypoints lie on the object and spread over it."""

import numpy as np
import pytest

from pipelines.objects.base import GroundedBox
from pipelines.objects.keypoints import SpreadFeatures
from tests.pipelines.objects.conftest import Clip, make_clip


def box_of(clip: Clip, margin: float = 3.0) -> GroundedBox:
    half = clip.size / 2 + margin
    return GroundedBox(
        np.r_[clip.centre[0] - half, clip.centre[0] + half].astype(np.float32), 0, 1.0, "dataset"
    )


@pytest.mark.parametrize("plain", [False, True])
def test_points_are_on_the_object_not_on_the_table_in_the_box(plain: bool) -> None:
    clip = make_clip(plain=plain)
    points = SpreadFeatures().select(clip.frames[0], box_of(clip, margin=6), 8)
    assert points.shape == (8, 2)
    assert (np.abs(points - clip.centre[0]) <= clip.size / 2).all()


def test_points_spread_over_the_object(carried: Clip) -> None:
    points = SpreadFeatures().select(carried.frames[0], box_of(carried), 8)
    distances = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))[np.triu_indices(8, 1)]
    assert distances.min() > carried.size / 8
    assert np.ptp(points, axis=0).min() > 0.5 * carried.size


def test_a_mask_is_obeyed(carried: Clip) -> None:
    mask = np.zeros(carried.frames.shape[1:3], bool)
    mask[80:100, 45:50] = True
    box = GroundedBox(np.array([45, 80, 50, 100], np.float32), 0, 1.0, "made", mask)
    points = SpreadFeatures().select(carried.frames[0], box, 6).astype(int)
    assert mask[points[:, 1], points[:, 0]].all()


def test_tiny_object_gives_as_many_points_as_asked(carried: Clip) -> None:
    box = GroundedBox(np.array([50, 90, 52, 92], np.float32), 0, 1.0, "dataset")
    assert SpreadFeatures().select(carried.frames[0], box, 8).shape == (8, 2)
