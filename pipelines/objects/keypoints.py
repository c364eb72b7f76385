"""Keypoints on an object: strong features first, spread over the object's own pixels.

Greedy farthest-point sampling in which a pixel's distance counts more the stronger its corner response is:
on textured objects the points sit on features, on plain ones they are spread evenly and the outline's
corners win. Points stay a little inside the outline, where a tracker's window sees mostly the object.
"""

import cv2
import numpy as np

from pipelines.objects.base import GroundedBox, KeypointSelector

BORDER = 0.06
"""Distance of keypoints from the outline, as a share of the object's width."""
FEATURE_WEIGHT = 0.6
"""How much a corner counts: 0 spreads the points evenly, 1 ignores featureless pixels."""


class SpreadFeatures(KeypointSelector):
    """Farthest-point sampling weighted by corner strength, inside the object's mask."""

    def select(self, frame: np.ndarray, box: GroundedBox, n: int) -> np.ndarray:
        mask = box.mask if box.mask is not None else foreground(frame, box.box)
        mask = _inner(mask)
        gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        corners = np.maximum(cv2.cornerMinEigenVal(gray, blockSize=3), 0)
        ys, xs = np.nonzero(mask)
        strength = corners[ys, xs] / max(float(corners[ys, xs].max()), 1e-12)
        weight = (1 - FEATURE_WEIGHT) + FEATURE_WEIGHT * np.sqrt(strength)
        pixels = np.stack([xs, ys], axis=1).astype(np.float32)
        return pixels[_farthest_points(pixels, weight, n)]


def foreground(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(H, W) bool: the object inside `box`, by GrabCut; the box itself where that finds next to nothing."""
    height, width = frame.shape[:2]
    x0, y0 = np.clip(np.floor(box[:2]).astype(int), 0, [width - 2, height - 2])
    x1, y1 = np.maximum(np.clip(np.ceil(box[2:]).astype(int), 0, [width, height]), [x0 + 1, y0 + 1])
    whole = np.zeros((height, width), bool)
    whole[y0:y1, x0:x1] = True
    margin = max(6, (max(x1 - x0, y1 - y0)) // 2)
    top, left = max(0, y0 - margin), max(0, x0 - margin)
    window = np.s_[top : y1 + margin, left : x1 + margin]
    image = np.ascontiguousarray(frame[window][..., ::-1])
    labels = np.where(whole[window], cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    if whole[window].all() or min(x1 - x0, y1 - y0) < 4:
        return whole
    cv2.setRNGSeed(0)
    cv2.grabCut(image, labels, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    found = np.zeros_like(whole)
    found[window] = labels == cv2.GC_PR_FGD
    return found if np.count_nonzero(found) > 0.15 * np.count_nonzero(whole) else whole


def _inner(mask: np.ndarray) -> np.ndarray:
    """`mask` without its rim; as much rim is kept as a thin object needs."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    rim = min(max(1.5, BORDER * float(np.sqrt(np.count_nonzero(mask)))), 0.5 * float(depth.max()))
    return depth > rim


def _farthest_points(points: np.ndarray, weight: np.ndarray, n: int) -> np.ndarray:
    """Indices of `n` of `points` (P, 2), repeated where there are fewer than `n`."""
    chosen = [int(np.argmax(weight))]
    distance = np.hypot(*(points - points[chosen[0]]).T)
    while len(chosen) < n:
        chosen.append(int(np.argmax(distance * weight)))
        distance = np.minimum(distance, np.hypot(*(points - points[chosen[-1]]).T))
    return np.array(chosen)
