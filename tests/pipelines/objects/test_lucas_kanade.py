"""The tracker against planted motion that is known exactly."""

import numpy as np
import pytest

from pipelines.objects.base import ArrayFrames, PointTracks
from pipelines.objects.lucas_kanade import LucasKanade
from tests.pipelines.objects.conftest import Clip, make_clip


def grid(clip: Clip, frame: int, n: int = 3) -> np.ndarray:
    """(n * n, 2) points on the object in `frame`."""
    steps = np.linspace(-0.36, 0.36, n) * clip.size
    own = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    motion = clip.motions[frame]
    return own @ motion[:2, :2].T + motion[:2, 2]


def follow(clip: Clip, frame: int = 0) -> tuple[PointTracks, np.ndarray, np.ndarray]:
    """Tracks, their errors (T, N), and whether the arm leaves each point free (T, N)."""
    places = grid(clip, frame)
    tracks = LucasKanade().track(
        ArrayFrames(clip.frames), np.column_stack([np.full(len(places), frame), places])
    )
    truth = clip.carried(places, frame)
    limit = clip.frames.shape[1] - 1
    xs, ys = np.clip(np.round(truth), 0, limit).astype(int).transpose(2, 0, 1)
    free = ~clip.hidden[np.arange(len(truth))[:, None], ys, xs]
    return tracks, np.hypot(*np.moveaxis(tracks.points - truth, -1, 0)), free


def test_follows_a_carried_and_turned_object_to_the_pixel() -> None:
    tracks, error, free = follow(make_clip(turn=40.0))
    assert np.median(error[free]) < 0.5
    assert np.percentile(error[free], 95) < 2.5
    assert tracks.visible[free].mean() > 0.85


def test_hidden_points_are_not_called_visible(covered: Clip) -> None:
    tracks, _, free = follow(covered)
    hidden = ~free.any(axis=1)
    assert hidden.sum() > 10, "the arm must hide the whole object for a while"
    assert tracks.visible[hidden].mean() < 0.05
    assert free[tracks.visible].mean() > 0.9
    assert np.isfinite(tracks.points).all(), "hidden points keep a best estimate"


def test_object_is_found_again_where_it_reappears(covered: Clip) -> None:
    tracks, error, _ = follow(covered)
    assert np.hypot(*(covered.centre[-1] - covered.centre[0])) > 60
    assert tracks.visible[-1].mean() > 0.8
    assert np.median(error[-1]) < 1.5


def test_does_not_jump_to_a_twin_that_was_there_all_along(covered: Clip) -> None:
    frames = covered.frames.copy()
    x, y = covered.centre[0].round().astype(int)
    half = covered.size // 2 + 2
    twin = frames[0, y - half : y + half, x - half : x + half]
    frames[:, 130 - half : 130 + half, 30 - half : 30 + half] = twin
    tracks, _, _ = follow(Clip(frames, covered.motions, covered.hidden, covered.tips, covered.size))
    assert np.hypot(*(tracks.points.mean(axis=1) - [30, 130]).T).min() > 20


def test_tracks_backward_as_well_as_forward() -> None:
    clip = make_clip(turn=20.0)
    tracks, error, free = follow(clip, frame=len(clip.frames) - 1)
    assert np.median(error[:16][free[:16]]) < 1.5
    assert tracks.visible[0].mean() > 0.8


def test_dimming_light_does_not_lose_the_object() -> None:
    tracks, error, free = follow(make_clip(dim=0.6))
    assert np.median(error[free]) < 1.0
    assert tracks.visible[free].mean() > 0.8


@pytest.mark.parametrize("side", [14, 60])
def test_small_and_large_objects(side: int) -> None:
    _, error, free = follow(make_clip(object_side=side, distractor=None))
    assert np.median(error[free]) < 1.0


def test_a_plain_object_is_followed_by_its_outline() -> None:
    tracks, error, free = follow(make_clip(plain=True))
    assert np.median(error[tracks.visible]) < 3.0
    assert free[tracks.visible].mean() > 0.9
    assert tracks.visible[-1].all()


def test_query_points_come_back_unchanged_in_their_frame(carried: Clip) -> None:
    tracks, _, _ = follow(carried, frame=5)
    assert np.abs(tracks.points[5] - grid(carried, 5)).max() < 0.3
    assert tracks.visible[5].all()
    assert tracks.visibility.min() >= 0
    assert tracks.visibility.max() <= 1


def test_two_objects_are_two_groups(carried: Clip) -> None:
    places = np.r_[grid(carried, 0), grid(carried, 3)]
    queries = np.column_stack([np.r_[np.zeros(9), np.full(9, 3)], places])
    tracks = LucasKanade().track(ArrayFrames(carried.frames), queries)
    assert np.abs(tracks.points[-1, :9] - tracks.points[-1, 9:]).max() < 2


def test_same_input_same_tracks(carried: Clip) -> None:
    first, second = follow(carried)[0], follow(carried)[0]
    assert np.array_equal(first.points, second.points)
    assert np.array_equal(first.visibility, second.visibility)
