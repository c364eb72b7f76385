"""Rules of visibility beyond the tracker's."""

import numpy as np

from data_schemas.cues import WristTrack
from pipelines.objects.occlusion import hide_near_hand, hide_stragglers


def test_points_beside_the_hand_are_not_called_visible() -> None:
    points = np.array([[[100, 100], [104, 100], [111, 100], [np.nan, np.nan]]] * 3, np.float32)
    visibility = np.array([[0.9, 0.3, 0.8, 0.05]] * 3, np.float32)
    hand = np.array([[100, 100], [100, 100], [200, 100]], np.float32)
    seen = np.array([True, False, True])
    wrist = WristTrack("d", "made", hand, seen.astype(np.float32), seen, ["found", "not_found", "found"])
    hidden = hide_near_hand(points, visibility, wrist, 10.0)
    np.testing.assert_allclose(hidden, [[0.5, 0.3, 0.8, 0.05], [0.9, 0.3, 0.8, 0.05], [0.9, 0.3, 0.8, 0.05]])
    assert hidden.dtype == np.float32


def test_single_points_on_a_covered_object_are_not_called_visible() -> None:
    visibility = np.array([[0.9, 0.1, 0.1, 0.1], [0.9, 0.9, 0.1, 0.1]], np.float32)
    np.testing.assert_allclose(hide_stragglers(visibility, 0.5), [[0.5, 0.1, 0.1, 0.1], [0.9, 0.9, 0.1, 0.1]])
