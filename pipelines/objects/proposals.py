"""Things that lie in a scene: regions of the early view that may be the manipulated object.

Two sources that fail in different scenes. Segments stand out by colour from what surrounds them (a block on
a table; fails in clutter, and joins things that touch, so their one-coloured parts are proposed as well).
Change regions differ between the early and the late view (works in clutter; finds nothing for a button, and
only parts of an object that was pushed by less than its own length).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.objects.colour import largest_channel
from pipelines.objects.scene_change import Views

MIN_AREA = 0.0004
"""Smallest region, as a share of the picture: 4 x 5 pixels at 224 x 224."""
MAX_AREA = 0.08
SURROUND = 0.28
"""Side of the median window that estimates what surrounds an object, as a share of the shorter side."""
CONTRAST = 16.0
"""Smallest CIELAB distance (OpenCV's 8-bit scale) from the surroundings of a segment."""


@dataclass(frozen=True)
class Proposal:
    """One region of the early view."""

    mask: np.ndarray
    """(h, w) bool."""
    centre: np.ndarray
    """(2,) x, y."""
    area: int
    compactness: float
    """Area over the area of the smallest rotated rectangle around it: 1 for a rectangle, 0.79 for a disc."""
    contrast: float
    """CIELAB distance of the region from the ring around it, in the early view."""
    late_contrast: float
    """The same in the late view; near 0 where the object is gone."""


def propose(views: Views) -> list[Proposal]:
    """Regions of the early view: what stands out, its one-coloured parts, what changed, and changed parts."""
    early, late = (cv2.cvtColor(v.astype(np.uint8), cv2.COLOR_RGB2LAB) for v in (views.early, views.late))
    distinct = _stands_out(early)
    changed = (views.difference > views.step) & (views.lasting > 0.5)
    masks: list[np.ndarray] = []
    for source in (distinct, distinct & changed, distinct & ~_edges(early), changed):
        for region in _regions(source):
            if not any(_same(region, mask) for mask in masks):
                masks.append(region)
    return [describe(mask, early, late) for mask in masks]


def boundary_ring(mask: np.ndarray, inner: int = 2, outer: int = 6) -> np.ndarray:
    """(h, w) bool: pixels between `inner` and `outer` pixels away from `mask`."""
    return _dilate(mask, outer) & ~_dilate(mask, inner)


def _stands_out(lab: np.ndarray) -> np.ndarray:
    window = int(min(lab.shape[:2]) * SURROUND) | 1
    difference = lab.astype(np.float32) - cv2.medianBlur(lab, window)
    return np.einsum("hwc,hwc->hw", difference, difference) > CONTRAST**2


def _edges(lab: np.ndarray) -> np.ndarray:
    """(h, w) bool: borders between colours, one or two pixels wide; they part objects that touch."""
    kernel = np.ones((3, 3), np.uint8)
    return largest_channel(cv2.morphologyEx(lab, cv2.MORPH_GRADIENT, kernel)) > 1.5 * CONTRAST


def _regions(mask: np.ndarray) -> list[np.ndarray]:
    """Connected regions of `mask` of admissible size, thin bridges cut."""
    kernel = np.ones((3, 3), np.uint8)
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    closed = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, kernel)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=4)
    least, most = (share * mask.size for share in (MIN_AREA, MAX_AREA))
    areas = stats[1:count, cv2.CC_STAT_AREA]
    return [labels == i + 1 for i in np.flatnonzero((areas >= least) & (areas <= most))]


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two masks agree in more than 70 % of their union."""
    in_a, in_b = np.count_nonzero(a), np.count_nonzero(b)
    if min(in_a, in_b) < 0.7 * max(in_a, in_b):
        return False
    both = np.count_nonzero(a & b)
    return bool(both > 0.7 * (in_a + in_b - both))


def describe(mask: np.ndarray, early: np.ndarray, late: np.ndarray) -> Proposal:
    """A region of the early view, measured; `early` and `late` are (h, w, 3) CIELAB."""
    ys, xs = np.nonzero(mask)
    ring = boundary_ring(mask)
    return Proposal(
        mask=mask,
        centre=np.array([xs.mean(), ys.mean()]),
        area=len(xs),
        compactness=compactness(mask),
        contrast=_contrast(early, mask, ring),
        late_contrast=_contrast(late, mask, ring),
    )


def compactness(mask: np.ndarray) -> float:
    """Area of `mask` over the area of the smallest rotated rectangle around it."""
    ys, xs = np.nonzero(mask)
    _, (width, height), _ = cv2.minAreaRect(np.stack([xs, ys], axis=1).astype(np.float32))
    return len(xs) / ((width + 1) * (height + 1))


def _contrast(lab: np.ndarray, mask: np.ndarray, ring: np.ndarray) -> float:
    if not ring.any():
        return 0.0
    return float(np.linalg.norm(np.median(lab[mask], axis=0) - np.median(lab[ring], axis=0)))


def _dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)
