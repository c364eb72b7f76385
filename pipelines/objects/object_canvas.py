"""A small picture in which the tracked object stands still: frames warped by its estimated motion.

Registration, appearance checks and occlusion masks all work in this canvas, so one code serves objects of
12 and of 300 pixels, at a cost that does not grow with the frame.

*Convention*: A motion `A` is a (3, 3) similarity from pixels of the query frame to pixels of the current
frame. Canvas pixels are `scale * (x - origin)` for a pixel x of the query frame.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.objects.colour import colour_distance

SIZE = 44
"""Side of the object in the canvas, pixels."""
MARGIN = 0.9
"""Free space on each side, as a share of the object's side: how far it may jump between two frames."""
TOLERANCE = 26.0
"""Colour difference (of 255, largest channel) up to which a pixel shows the object."""
GAIN = (0.6, 1.6)
"""Range of brightness changes that are compensated."""
GAIN_WINDOW = (9, 9)
"""Window, canvas pixels, over which brightness is compared."""


@dataclass(frozen=True)
class Canvas:
    """Geometry of the canvas and the object's outline in it."""

    origin: np.ndarray
    """(2,) query-frame pixel at the canvas origin."""
    scale: float
    shape: tuple[int, int]
    """Height and width."""
    outline: np.ndarray
    """(h, w) bool: the object in the canvas."""

    @classmethod
    def around(cls, points: np.ndarray) -> "Canvas":
        """Canvas for an object known by `points` (N, 2) on it: their convex hull."""
        low, high = points.min(axis=0), points.max(axis=0)
        side = max(float((high - low).max()), 6.0)
        scale = SIZE / side
        origin = low - MARGIN * side
        width, height = np.ceil(scale * (high - low + 2 * MARGIN * side)).astype(int)
        outline = np.zeros((height, width), np.uint8)
        hull = cv2.convexHull(np.round(scale * (points - origin)).astype(np.int32))
        cv2.fillConvexPoly(outline, hull, 1)
        return cls(origin, scale, (int(height), int(width)), outline.astype(bool))

    @property
    def to_query(self) -> np.ndarray:
        """(3, 3) from canvas pixels to query-frame pixels."""
        return np.array([[1 / self.scale, 0, self.origin[0]], [0, 1 / self.scale, self.origin[1]], [0, 0, 1]])

    def view(self, frame: np.ndarray, motion: np.ndarray) -> np.ndarray:
        """(h, w, 3) `frame` as seen from the object under `motion`."""
        matrix = (motion @ self.to_query)[:2]
        shrink = scale_of(motion) / self.scale
        if shrink > 1.5:
            frame = cv2.blur(frame, (round(shrink), round(shrink)))
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(frame, matrix, self.shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)

    def place(self, points: np.ndarray) -> np.ndarray:
        """Canvas pixels (N, 2) of query-frame `points` (N, 2)."""
        return self.scale * (points - self.origin)

    def correct(self, motion: np.ndarray, residual: np.ndarray) -> np.ndarray:
        """`motion` followed, in the canvas, by the (2, 3) `residual` that registration found."""
        step = np.vstack([residual, [0, 0, 1]])
        return motion @ self.to_query @ step @ np.linalg.inv(self.to_query)


def scale_of(motion: np.ndarray) -> float:
    """How much larger a (3, 3) motion makes things."""
    return float(np.sqrt(abs(np.linalg.det(motion[:2, :2]))))


def misfit(view: np.ndarray, template: np.ndarray) -> np.ndarray:
    """(h, w) float32 colour difference between `view` and `template`, in the largest channel, smoothed.

    Brightness is compensated locally: an object that turns or comes under a shadow changes it face by face.
    """
    seen, expected = (cv2.blur(cv2.cvtColor(v, cv2.COLOR_RGB2GRAY), GAIN_WINDOW) for v in (view, template))
    gain = np.clip((seen + np.float32(5)) / (expected + np.float32(5)), *GAIN)
    return cv2.blur(colour_distance(view.astype(np.float32), template * gain[..., None]), (3, 3))


def register(
    source: np.ndarray, target: np.ndarray, points: np.ndarray, tolerance: float = 1.2
) -> np.ndarray | None:
    """Similarity (2, 3) that moves `points` (P, 2) of view `source` to view `target`, or None.

    Pyramidal Lucas–Kanade on the three colour channels, kept where tracking back returns within
    `tolerance` canvas pixels, then a RANSAC similarity over what is left. Brightness is matched beforehand.
    """
    if len(points) < 6:
        return None
    xs, ys = points.astype(int).T
    before, after = (cv2.cvtColor(v, cv2.COLOR_RGB2GRAY)[ys, xs] + 5.0 for v in (source, target))
    target = cv2.convertScaleAbs(target, alpha=float(np.clip(np.median(before / after), *GAIN)))
    start = points.astype(np.float32)[:, None]
    options = {"winSize": (13, 13), "maxLevel": 2, "minEigThreshold": 1e-3, "criteria": (3, 12, 0.03)}
    # The stubs of OpenCV lack that None lets it allocate the result.
    there, found, _ = cv2.calcOpticalFlowPyrLK(source, target, start, None, **options)  # pyrefly: ignore[no-matching-overload]
    back, returned, _ = cv2.calcOpticalFlowPyrLK(target, source, there, None, **options)  # pyrefly: ignore[no-matching-overload]
    error = np.hypot(*(back - start)[:, 0].T)
    good = (found[:, 0] > 0) & (returned[:, 0] > 0) & (error < tolerance)
    if good.sum() < 6:
        return None
    cv2.setRNGSeed(0)
    matrix, inliers = cv2.estimateAffinePartial2D(
        start[good], there[good], ransacReprojThreshold=1.5, maxIters=200, confidence=0.99
    )
    if matrix is None or inliers.sum() < max(6, 0.3 * good.sum()):
        return None
    return matrix
