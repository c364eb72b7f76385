"""MediaPipe's palm detector around its network: letterbox, anchors, decoding, weighted suppression.

The network is a single-shot detector with 2016 fixed anchors on a 192 x 192 image. For every anchor it
gives a logit and 18 numbers in pixels of that image: box centre (relative to the anchor) and size, then
seven palm keypoints (relative to the anchor). Boxes that overlap are not dropped but averaged, weighted by
their scores, which halves the jitter of hard suppression.

Convention: decoded coordinates are continuous (the first pixel spans 0 to 1) until `detect` turns them
into pixels of the original frame with pixel centres at integers.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.wrists.litert import LiteRtModel

INPUT_SIDE = 192
STRIDES = ((8, 2), (16, 6))
"""(pixels between anchors, anchors per cell) of the two feature maps."""

WRIST_CENTER, MIDDLE_FINGER_MCP = 0, 2
"""The two palm keypoints that give the hand's direction."""


@dataclass(frozen=True)
class Palm:
    """A palm in pixels of the original frame, pixel centres at integers."""

    box: np.ndarray
    """(4,) x0 y0 x1 y1."""
    keypoints: np.ndarray
    """(7, 2)."""
    score: float


@dataclass(frozen=True)
class Letterbox:
    """A frame resized into a square with black bars, and the way back.

    Attributes:
        image: (side, side, 3) uint8.
        scale: (2,) letterbox pixels per frame pixel, x and y (they differ by rounding).
        offset: (2,) of the frame's corner in the letterbox, pixels.
    """

    image: np.ndarray
    scale: np.ndarray
    offset: np.ndarray

    @classmethod
    def of(cls, frame: np.ndarray, side: int) -> "Letterbox":
        """Fit `frame` (H, W, 3) into a square of `side` pixels, keeping its aspect ratio."""
        height, width = frame.shape[:2]
        size = np.maximum(1, np.rint(np.array([width, height]) * side / max(width, height)).astype(int))
        offset = (side - size) // 2
        shrinks = max(width, height) > side
        resized = cv2.resize(
            frame, size.tolist(), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
        image = np.zeros((side, side, 3), np.uint8)
        image[offset[1] : offset[1] + size[1], offset[0] : offset[0] + size[0]] = resized
        return cls(image, size / (width, height), offset.astype(np.float64))

    def to_frame(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) continuous letterbox coordinates to pixels of the frame, pixel centres at integers."""
        return (points - self.offset) / self.scale - 0.5


def anchor_centers() -> np.ndarray:
    """(2016, 2) x y in letterbox pixels, in the order of the network's outputs."""
    centers = []
    for stride, per_cell in STRIDES:
        ticks = np.arange(stride / 2, INPUT_SIDE, stride)
        grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
        centers.append(np.repeat(grid, per_cell, axis=0))
    return np.concatenate(centers)


def decode(raw: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """(N, 18) network outputs and their (N, 2) anchors to (N, 9, 2): box corners, then seven keypoints."""
    points = raw.reshape(-1, 9, 2).astype(np.float64)
    center, half = points[:, 0] + anchors, points[:, 1] / 2
    return np.concatenate(
        [(center - half)[:, None], (center + half)[:, None], points[:, 2:] + anchors[:, None]], axis=1
    )


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of `box` (4,) with each of `boxes` (N, 4), corners x0 y0 x1 y1."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.prod(np.clip(sides, 0, None), axis=1)
    area = np.prod(box[2:] - box[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return shared / np.maximum(area - shared, 1e-12)


def weighted_suppression(
    points: np.ndarray, scores: np.ndarray, min_overlap: float
) -> list[tuple[np.ndarray, float]]:
    """Merge detections that overlap: best first, everything over `min_overlap` joins its weighted mean.

    Args:
        points: (N, K, 2), the first two being the box corners.
        scores: (N,) in (0, 1].

    Returns:
        Pairs of merged (K, 2) points and the best score of the group, best first.
    """
    merged = []
    left = np.argsort(-scores, kind="stable")
    while left.size:
        boxes = points[left, :2].reshape(-1, 4)
        joins = overlap(boxes[0], boxes) > min_overlap
        joins[0] = True
        group = left[joins]
        merged.append((np.average(points[group], axis=0, weights=scores[group]), float(scores[left[0]])))
        left = left[~joins]
    return merged


class PalmDetector:
    """Palms of a single frame."""

    def __init__(self, model: LiteRtModel, min_score: float, max_overlap: float = 0.3) -> None:
        self._model = model
        self._min_score = min_score
        self._max_overlap = max_overlap
        self._anchors = anchor_centers()

    def detect(self, frame: np.ndarray) -> list[Palm]:
        """Palms of `frame` (H, W, 3) uint8 RGB, best first."""
        letterbox = Letterbox.of(frame, INPUT_SIDE)
        raw, logits = self._model(letterbox.image.astype(np.float32) / 255)
        scores = 1 / (1 + np.exp(-np.clip(logits.reshape(-1).astype(np.float64), -100, 100)))
        kept = scores >= self._min_score
        points = decode(raw.reshape(-1, 18)[kept], self._anchors[kept])
        return [
            Palm(frame_points[:2].reshape(4), frame_points[2:], score)
            for merged, score in weighted_suppression(points, scores[kept], self._max_overlap)
            for frame_points in [letterbox.to_frame(merged)]
        ]
