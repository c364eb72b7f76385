"""Crop geometry: MediaPipe's formulas in its own normalized coordinates, and planted squares."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.wrists.hand_crop import INPUT_SIDE, HandCrop
from pipelines.wrists.palm_detection import Palm

coordinate = st.floats(60, 260)


def hand_keypoints(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 60, (21, 2)) + rng.uniform(50, 250, 2)


@given(coordinate, coordinate, st.floats(80, 400), st.floats(-math.pi, math.pi))
@settings(max_examples=50, deadline=None)
def test_a_planted_square_comes_back_through_crop_and_rotation(
    x: float, y: float, side: float, angle: float
) -> None:
    frame = np.zeros((320, 320, 3), np.uint8)
    column, row = round(x), round(y)
    frame[row - 5 : row + 6, column - 5 : column + 6] = 255
    offset = np.array([column, row]) + side / 8
    crop = HandCrop(offset, side, angle)
    weight = crop.cut(frame)[..., 0].astype(float)
    v, u = np.indices(weight.shape)
    center = np.array([(u * weight).sum(), (v * weight).sum()]) / weight.sum() + 0.5
    np.testing.assert_allclose(crop.to_frame(center), [column, row], atol=0.5)


@given(st.integers(0, 1000))
def test_the_hand_is_upright_in_its_crop(seed: int) -> None:
    keypoints = hand_keypoints(seed)
    crop = HandCrop.from_landmarks(keypoints)
    matrix = crop.matrix()
    inverse = np.linalg.inv(matrix[:, :2])
    wrist = inverse @ (keypoints[0] - matrix[:, 2])
    fingers = (keypoints[5] + keypoints[13]) / 4 + keypoints[9] / 2
    knuckles = inverse @ (fingers - matrix[:, 2])
    assert knuckles[1] < wrist[1]
    np.testing.assert_allclose(knuckles[0], wrist[0], atol=1e-6)


def test_matrix_and_to_frame_agree() -> None:
    crop = HandCrop(np.array([31.0, 17.0]), 80.0, 0.7)
    pixel = np.array([3.0, 200.0])
    np.testing.assert_allclose(crop.matrix() @ [*pixel, 1], crop.to_frame(pixel + 0.5))
    np.testing.assert_allclose(crop.to_frame(np.full(2, INPUT_SIDE / 2)), crop.center)


def test_square_of_a_palm_follows_mediapipe() -> None:
    """DetectionsToRects (target 90 degrees, keypoints 0 to 2), then RectTransformation 2.6, -0.5, square_long."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        x0, y0, w, h = *rng.uniform(50, 150, 2), *rng.uniform(20, 80, 2)
        keypoints = rng.uniform(50, 200, (7, 2))
        (wx, wy), (mx, my) = keypoints[0], keypoints[2]
        rotation = math.pi / 2 - math.atan2(-(my - wy), mx - wx)
        rotation -= 2 * math.pi * math.floor((rotation + math.pi) / (2 * math.pi))
        center_x = x0 + w / 2 + -(h * -0.5 * math.sin(rotation))
        center_y = y0 + h / 2 + h * -0.5 * math.cos(rotation)

        crop = HandCrop.from_palm(Palm(np.array([x0, y0, x0 + w, y0 + h]), keypoints, 1.0))
        np.testing.assert_allclose(crop.center, [center_x, center_y])
        np.testing.assert_allclose(crop.side, 2.6 * max(w, h))
        np.testing.assert_allclose(np.exp(1j * crop.angle), np.exp(1j * rotation))


def test_square_of_landmarks_follows_mediapipe() -> None:
    """HandLandmarksToRectCalculator, then RectTransformation 2.0, -0.1, square_long, point by point."""
    subset = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]
    for seed in range(50):
        points = hand_keypoints(seed)
        kept = points[subset]
        wx, wy = kept[0]
        fx, fy = (kept[4] + kept[8]) / 2  # index and ring finger
        fx, fy = (fx + kept[6][0]) / 2, (fy + kept[6][1]) / 2
        rotation = math.pi / 2 - math.atan2(-(fy - wy), fx - wx)

        axis_x, axis_y = (min(p[0] for p in kept) + max(p[0] for p in kept)) / 2, 0.0
        axis_y = (min(p[1] for p in kept) + max(p[1] for p in kept)) / 2
        turned = [
            (
                (x - axis_x) * math.cos(-rotation) - (y - axis_y) * math.sin(-rotation),
                (x - axis_x) * math.sin(-rotation) + (y - axis_y) * math.cos(-rotation),
            )
            for x, y in kept
        ]
        low = [min(p[i] for p in turned) for i in (0, 1)]
        high = [max(p[i] for p in turned) for i in (0, 1)]
        mx, my = (low[0] + high[0]) / 2, (low[1] + high[1]) / 2
        width, height = high[0] - low[0], high[1] - low[1]
        center_x = mx * math.cos(rotation) - my * math.sin(rotation) + axis_x
        center_y = mx * math.sin(rotation) + my * math.cos(rotation) + axis_y
        center_x += height * 0.1 * math.sin(rotation)
        center_y -= height * 0.1 * math.cos(rotation)

        crop = HandCrop.from_landmarks(points)
        np.testing.assert_allclose(crop.center, [center_x, center_y])
        np.testing.assert_allclose(crop.side, 2 * max(width, height))
