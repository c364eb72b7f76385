"""The camera's path on pictures moved by known similarities, with something moving in front of them."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_schemas.camera import CameraMotion
from pipelines.camera_motion.estimate import CameraPath, estimate_camera_path
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


def test_what_cannot_be_known_is_said() -> None:
    """A cut to an empty wall and back: the motion is carried on and marked as unknown."""
    to_scene = path(20)
    frames = list(views(scene(), to_scene))
    for t in range(8, 12):
        frames[t] = np.full_like(frames[t], 127)
    found = estimate_camera_path(iter(frames), nowhere(20), 0.2)
    known = found.agreement > 0
    assert not known[8:12].any()
    assert known[:8].all()
    assert known[13:].all()
    np.testing.assert_array_equal(found.transforms[8:12], np.tile(found.transforms[7], (4, 1, 1)))


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
