"""Anchors, decoding, suppression and letterbox against MediaPipe's definitions written out as loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.wrists.palm_detection import (
    INPUT_SIDE,
    Letterbox,
    anchor_centers,
    decode,
    overlap,
    weighted_suppression,
)


def test_anchors_are_those_of_mediapipes_calculator() -> None:
    """SsdAnchorsCalculator: four layers of strides 8, 16, 16, 16, two anchors each; equal strides share cells."""
    strides, expected, layer = [8, 16, 16, 16], [], 0
    while layer < len(strides):
        last = layer
        while last < len(strides) and strides[last] == strides[layer]:
            last += 1
        per_cell, cells = 2 * (last - layer), INPUT_SIDE // strides[layer]
        for y in range(cells):
            for x in range(cells):
                expected += [((x + 0.5) / cells, (y + 0.5) / cells)] * per_cell
        layer = last
    assert len(expected) == 2016
    np.testing.assert_allclose(anchor_centers() / INPUT_SIDE, expected)


def test_decoding_follows_mediapipes_formula() -> None:
    """TensorsToDetectionsCalculator with x_scale = y_scale = w_scale = h_scale = 192 and unit anchors."""
    rng = np.random.default_rng(0)
    raw, anchors = rng.normal(scale=40, size=(5, 18)), rng.uniform(0, 192, (5, 2))
    decoded = decode(raw, anchors) / 192
    for box, (ax, ay), points in zip(raw, anchors / 192, decoded, strict=True):
        cx, cy, w, h = box[0] / 192 + ax, box[1] / 192 + ay, box[2] / 192, box[3] / 192
        np.testing.assert_allclose(points[0], [cx - w / 2, cy - h / 2])
        np.testing.assert_allclose(points[1], [cx + w / 2, cy + h / 2])
        for k in range(7):
            np.testing.assert_allclose(points[2 + k], [box[4 + 2 * k] / 192 + ax, box[5 + 2 * k] / 192 + ay])


def test_overlap_is_the_share_of_pixels() -> None:
    rng = np.random.default_rng(1)
    corners = np.sort(rng.integers(0, 30, (40, 2, 2)), axis=1)
    corners[:, 1] += 1
    masks = np.zeros((40, 32, 32), bool)
    for mask, ((x0, y0), (x1, y1)) in zip(masks, corners, strict=True):
        mask[y0:y1, x0:x1] = True
    boxes = corners.reshape(-1, 4).astype(float)
    for box, mask in zip(boxes, masks, strict=True):
        expected = (masks & mask).sum((1, 2)) / (masks | mask).sum((1, 2))
        np.testing.assert_allclose(overlap(box, boxes), expected, atol=1e-12)


@given(st.integers(0, 10_000), st.integers(0, 25))
@settings(max_examples=60, deadline=None)
def test_suppression_equals_brute_force(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 30, (count, 2))
    points = np.stack([low, low + rng.uniform(5, 20, (count, 2)), low], axis=1)
    scores = rng.uniform(0.1, 1, count)

    rest, expected = sorted(range(count), key=lambda i: -scores[i]), []
    while rest:
        best = rest[0]
        group = [i for i in rest if _overlap(points[best], points[i]) > 0.3]
        mean = sum(scores[i] * points[i] for i in group) / sum(scores[i] for i in group)
        expected.append((mean, scores[best]))
        rest = [i for i in rest if i not in group]

    merged = weighted_suppression(points, scores, 0.3)
    assert len(merged) == len(expected)
    for (ours, our_score), (theirs, score) in zip(merged, expected, strict=True):
        np.testing.assert_allclose(ours, theirs)
        assert our_score == score


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[1, 0], b[1, 0]) - max(a[0, 0], b[0, 0])
    height = min(a[1, 1], b[1, 1]) - max(a[0, 1], b[0, 1])
    shared = max(width, 0) * max(height, 0)
    return shared / (np.prod(a[1] - a[0]) + np.prod(b[1] - b[0]) - shared)


@pytest.mark.parametrize(("height", "width"), [(360, 640), (720, 1280), (224, 224), (101, 67), (378, 478)])
def test_a_planted_square_comes_back_through_the_letterbox(height: int, width: int) -> None:
    rng = np.random.default_rng(height)
    for _ in range(20):
        half = max(2, min(height, width) // 40)
        x, y = (int(rng.integers(half, size - half)) for size in (width, height))
        frame = np.zeros((height, width, 3), np.uint8)
        frame[y - half : y + half + 1, x - half : x + half + 1] = 255
        letterbox = Letterbox.of(frame, INPUT_SIDE)
        assert letterbox.image.shape == (INPUT_SIDE, INPUT_SIDE, 3)
        weight = letterbox.image[..., 0].astype(float)
        v, u = np.indices(weight.shape)
        center = np.array([(u * weight).sum(), (v * weight).sum()]) / weight.sum() + 0.5
        np.testing.assert_allclose(letterbox.to_frame(center), [x, y], atol=0.5)
