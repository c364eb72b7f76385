"""Find a lost object in a whole frame by its template."""

import cv2
import numpy as np

from pipelines.objects.object_canvas import SIZE, Canvas, scale_of

PATCH = 20
"""Side of the object, in pixels, in the reduced frame that is searched."""
PEAKS = 2
"""Best places per template that are handed on for verification."""


def search(
    frame: np.ndarray,
    canvas: Canvas,
    template: np.ndarray,
    motion: np.ndarray,
    shown: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Motions that put the object where `frame` looks most like `template`, best first.

    Args:
        frame: (H, W, 3).
        template: (h, w, 3) canvas view.
        motion: (3, 3); its scale and rotation are kept, its translation is searched.
        shown: (h, w) bool, the part of the template to compare; the canvas outline by default.

    Convention: motions take query-frame pixels to pixels of `frame`.
    """
    linear = motion[:2, :2]
    size = SIZE / canvas.scale * scale_of(motion)
    reduce = min(1.0, PATCH / size)
    small = cv2.resize(frame, None, fx=reduce, fy=reduce, interpolation=cv2.INTER_AREA)
    # The template, drawn at the size and rotation that the object should have in the reduced frame.
    to_small = np.eye(3)
    to_small[:2, :2] = reduce * linear / canvas.scale
    ys, xs = np.nonzero(canvas.outline if shown is None else shown)
    if len(xs) < 9:
        return []
    corners = np.stack([xs, ys]).astype(float)
    mapped = to_small[:2, :2] @ corners
    to_small[:2, 2] = 1 - mapped.min(axis=1)
    width, height = np.ceil(np.ptp(mapped, axis=1)).astype(int) + 3
    if width >= small.shape[1] or height >= small.shape[0]:
        return []
    shrink = max(1, round(1 / scale_of(to_small)))
    patch = cv2.warpAffine(cv2.blur(template, (shrink, shrink)), to_small[:2], (int(width), int(height)))
    region = (canvas.outline if shown is None else shown).astype(np.float32)
    mask = cv2.warpAffine(region, to_small[:2], (int(width), int(height)))
    mask = np.repeat((mask > 0.5).astype(np.float32)[..., None], 3, axis=2)
    if mask.sum() < 9:
        return []
    cost = cv2.matchTemplate(small.astype(np.float32), patch.astype(np.float32), cv2.TM_SQDIFF, mask=mask)
    motions = []
    for _ in range(PEAKS):
        _, _, (x, y), _ = cv2.minMaxLoc(cost)
        shift = np.array([[1 / reduce, 0, x / reduce], [0, 1 / reduce, y / reduce], [0, 0, 1]])
        motions.append(shift @ to_small @ np.linalg.inv(canvas.to_query))
        radius = PATCH // 3
        cost[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1] = np.inf
    return motions
