"""The camera's path on pictures moved by known similarities, with something moving in front of them."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_schemas.camera import CameraMotion
from pipelines.camera_motion.estimate import PATIENCE, CameraPath, estimate_camera_path
from pipelines.video import open_video

SIZE = (320, 240)
"""Of the view through the moving camera."""
CORNERS = np.array([[0, 0], [319, 0], [0, 239], [319, 239], [160, 120]], float)


def scene(samples: Path | None = None) -> np.ndarray:
    """A picture larger than the view: a real one, or noise of several scales."""
    if samples is not None:
        with open_video(samples / "human2sim2robot" / "human_demos_vid_plate_push.mp4") as video:
            return video.frames([0])[0]
    rng = np.random.default_rng(0)
    noise = sum(
        cv2.resize(rng.uniform(0, 255 / 3, (360 // s, 640 // s, 3)).astype(np.float32), (640, 360))
        for s in (4, 9, 30)
    )
    return np.asarray(noise).astype(np.uint8)


def path(count: int) -> np.ndarray:
    """(T, 3, 3) from pixels of the view to pixels of the scene: a pan of 200 pixels, a zoom and a roll."""
    share = np.linspace(0, 1, count)
    zoom, roll = 1 + 0.15 * np.sin(2 * np.pi * share), 0.12 * np.sin(np.pi * share)
    matrices = np.tile(np.eye(3), (count, 1, 1))
    matrices[:, 0, 0] = matrices[:, 1, 1] = zoom * np.cos(roll)
    matrices[:, 1, 0] = zoom * np.sin(roll)
    matrices[:, 0, 1] = -matrices[:, 1, 0]
    matrices[:, :2, 2] = np.column_stack([40 + 200 * share, 60 + 20 * np.sin(3 * np.pi * share)])
    return matrices


def views(picture: np.ndarray, to_scene: np.ndarray) -> Iterator[np.ndarray]:
    for matrix in to_scene:
        yield cv2.warpAffine(picture, matrix[:2], SIZE, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def with_hand(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """A textured fist that moves through the picture on its own and covers a sixth of it."""
    rng = np.random.default_rng(1)
    fist = cv2.resize(rng.uniform(60, 220, (18, 18, 3)).astype(np.float32), (110, 110)).astype(np.uint8)
    for t, frame in enumerate(frames):
        x, y = 20 + 3 * t, 120 - 2 * t
        covered = frame.copy()
        covered[y : y + 110, x : x + 110] = fist
        yield covered


def misplaced(found: CameraPath, to_scene: np.ndarray) -> np.ndarray:
    """(T,) mean distance, pixels, of the view's corners from where they truly are in the first frame."""
    to_first = np.linalg.inv(to_scene[0]) @ to_scene
    error = [
        [cv2.perspectiveTransform(CORNERS[None], m)[0] for m in (a, b)]
        for a, b in zip(found.transforms, to_first, strict=True)
    ]
    return np.array([np.linalg.norm(a - b, axis=1).mean() for a, b in error])


def nowhere(count: int) -> np.ndarray:
    return np.full((count, 2), np.nan)


def test_pan_zoom_and_roll_behind_a_moving_hand() -> None:
    to_scene = path(40)
    found = estimate_camera_path(with_hand(views(scene(), to_scene)), nowhere(40), 0.2)
    assert (found.agreement > 0).all()
    assert np.median(misplaced(found, to_scene)) < 0.5
    assert misplaced(found, to_scene).max() < 1.5


def test_a_real_picture(samples: Path) -> None:
    to_scene = path(30)
    found = estimate_camera_path(with_hand(views(scene(samples), to_scene)), nowhere(30), 0.2)
    assert (found.agreement > 0).all()
    assert misplaced(found, to_scene).max() < 2.5


def test_a_still_camera_stands_still() -> None:
    to_scene = np.tile(path(2)[0], (15, 1, 1))
    found = estimate_camera_path(with_hand(views(scene(), to_scene)), nowhere(15), 0.2)
    assert misplaced(found, to_scene).max() < 0.1


def test_large_frames_give_full_resolution_pixels() -> None:
    """Shrinking before and enlarging after must cancel, half pixels included."""
    to_scene = path(8)
    large = (cv2.resize(v, (960, 720), interpolation=cv2.INTER_CUBIC) for v in views(scene(), to_scene))
    found = estimate_camera_path(large, nowhere(8), 0.2)
    grow = np.array([[3.0, 0, 1], [0, 3, 1], [0, 0, 1]])
    small = CameraPath(np.linalg.inv(grow) @ found.transforms @ grow, found.agreement)
    assert misplaced(small, to_scene).max() < 0.5


def test_the_hand_is_left_out() -> None:
    """Where only the fist has texture the wrist says that it is the hand's, and nothing is known."""
    plain = np.full((360, 640, 3), 90, np.uint8)
    to_scene = np.tile(path(2)[0], (12, 1, 1))
    frames = list(with_hand(views(plain, to_scene)))
    wrist = np.column_stack([75 + 3 * np.arange(12), 175 - 2 * np.arange(12)]).astype(float)
    assert misplaced(estimate_camera_path(iter(frames), nowhere(12), 0.26), to_scene).max() > 10
    found = estimate_camera_path(iter(frames), wrist, 0.26)
    assert not found.agreement[1:].any()
    assert misplaced(found, to_scene).max() == 0


def covered(frames: Iterator[np.ndarray], lost: range) -> list[np.ndarray]:
    """The same with an empty wall in some frames."""
    return [np.full_like(frame, 127) if t in lost else frame for t, frame in enumerate(frames)]


def test_a_lost_camera_is_found_again_where_it_is() -> None:
    """A wall before the lens for four frames, while the camera goes on: what is called known is where it truly is."""
    to_scene = path(40)
    found = estimate_camera_path(covered(views(scene(), to_scene), range(16, 20)), nowhere(40), 0.2)
    known = found.agreement > 0
    np.testing.assert_array_equal(np.flatnonzero(~known), np.arange(16, 20))
    assert misplaced(found, to_scene)[known].max() < 1.5
    np.testing.assert_array_equal(found.transforms[16:20], np.tile(found.transforms[15], (4, 1, 1)))


@pytest.mark.parametrize("back", [None, 22, 50])
def test_after_a_cut_nothing_is_known_unless_the_shot_comes_back_soon(back: int | None) -> None:
    """Another place from frame 14 on, and the first shot again from frame `back` on."""
    to_scene = path(60)
    to_scene[14:back, :2, 2] = [300, 110]  # where the first shot's last frame does not reach
    to_scene[14:back, :2, :2] = np.eye(2) * 0.9
    to_scene[back or 60 :] = to_scene[13]
    found = estimate_camera_path(views(scene(), to_scene), nowhere(60), 0.2)
    known = found.agreement > 0
    again = back is not None and back - 14 <= PATIENCE
    np.testing.assert_array_equal(
        np.flatnonzero(known), [*range(14), *(range(back or 60, 60) if again else ())]
    )
    assert misplaced(found, to_scene)[known].max() < 1.5
    np.testing.assert_array_equal(found.transforms[14], found.transforms[13])


def test_a_camera_that_is_gone_too_long_is_not_looked_for() -> None:
    """It comes back to the very place: of what looks alike after so long nobody says that it is the same."""
    to_scene = np.tile(path(2)[0], (40, 1, 1))
    found = estimate_camera_path(
        covered(views(scene(), to_scene), range(5, 5 + PATIENCE + 1)), nowhere(40), 0.2
    )
    np.testing.assert_array_equal(np.flatnonzero(found.agreement), np.arange(5))
    soon = estimate_camera_path(covered(views(scene(), to_scene), range(5, 5 + PATIENCE)), nowhere(40), 0.2)
    assert soon.agreement[5 + PATIENCE :].all()


def test_a_clip_begins_where_something_can_be_followed() -> None:
    """Empty frames, or a picture of its own (a title) before the scene, are unknown; the scene is not lost for them."""
    to_scene = path(40)
    to_scene[:4] = to_scene[4]
    frames = covered(views(scene(), to_scene), range(4))
    title = cv2.flip(frames[20], -1)
    for start, known_from in ((frames, 4), ([title, *frames[4:]], PATIENCE + 1)):
        found = estimate_camera_path(iter(start), nowhere(len(start)), 0.2)
        np.testing.assert_array_equal(np.flatnonzero(found.agreement), np.arange(known_from, len(start)))
        np.testing.assert_allclose(
            found.transforms[: known_from + 1], np.tile(np.eye(3), (known_from + 1, 1, 1)), atol=1e-9
        )
        rest = CameraPath(found.transforms[known_from:], found.agreement[known_from:])
        assert misplaced(rest, to_scene[len(to_scene) - len(rest.agreement) :]).max() < 1.5


def test_a_resting_point_stays_where_it_is_against_the_scene() -> None:
    to_scene = path(25)
    spot = np.array([250.0, 170.0])
    seen = np.stack([np.linalg.inv(m)[:2, :2] @ spot + np.linalg.inv(m)[:2, 2] for m in to_scene])
    found = estimate_camera_path(views(scene(), to_scene), nowhere(25), 0.2)
    row = CameraMotion("d", "x", found.transforms, found.agreement.astype(np.float32))
    again = CameraMotion.from_record(row.to_record())
    assert np.ptp(seen, axis=0).max() > 100
    rest = again.against_scene(seen)
    assert np.ptp(rest, axis=0).max() < 1.5
    pair = again.against_scene(np.stack([seen, np.full_like(seen, np.nan)], axis=1))
    np.testing.assert_allclose(pair[:, 0], rest)
    assert np.isnan(pair[:, 1]).all()


def test_a_clip_of_one_frame() -> None:
    found = estimate_camera_path(views(scene(), path(2)[:1]), nowhere(1), 0.2)
    np.testing.assert_allclose(found.transforms[0], np.eye(3), atol=1e-12)
    assert found.agreement == pytest.approx([1.0])
