"""Camera motion from the background: corners tracked since a key frame, RANSAC similarity, a new key frame in time.

Corners are found in a key frame, away from the hand, and followed from frame to frame by pyramidal Lucas–Kanade with
forward–backward check. The similarity (shift, zoom, roll) that most of them agree on takes each frame to its key
frame, so that errors add up per key frame and not per frame; what disagrees (objects that are carried, the other
hand) is dropped. When half of the corners are gone, the present frame becomes the key frame.

Where the camera is lost (a cut, a covered lens, blur), it is looked for from the last frame that is known. Once that has
failed for `PATIENCE` frames, its place stays unknown to the end: motion since a later frame says nothing about motion
since the first.

A similarity, not a homography: on a background that is not a plane the four further numbers fit the nearest surface,
and a chain of homographies runs off to infinity where a head turns; a chain of similarities stays bounded. What it
leaves is parallax and perspective.

Convention: pixels (x, y) of the original frame, centres at integers. A transform (3, 3) takes pixels of a frame to
pixels of the clip's first frame, continued beyond its borders. A clip begins where something can be followed: frames
before, as of a fade from black, are unknown.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from pipelines.video.shrink import shrunk

SIDE = 480
"""Longer side of the frames that are analysed: at most, pixels."""
CELLS, PER_CELL = 48, 6
"""Cells of the picture that corners are spread over, and corners in each at most."""
MIN_CORNERS = 12
"""Fewer tell nothing."""
BACK_ERROR = 0.7
"""Analysed pixels by which a corner may miss its start when it is tracked back."""
REPROJECTION = 1.5
"""Analysed pixels within which a corner agrees with the camera's motion."""
MIN_AGREEING = 0.4
"""Share of the corners that must agree; below, the picture was cut or is filled by something that moves."""
RENEW = 0.5
"""Share of a key frame's corners below which a new key frame is taken."""
PATIENCE = 15
"""Frames after which a camera that is lost is no longer looked for: by then it has turned elsewhere, and every further
look is a chance of a false match."""


@dataclass(frozen=True)
class CameraPath:
    """Motion of the camera through a clip."""

    transforms: np.ndarray
    """(T, 3, 3) float64; where unknown, the last one known, and the identity before the first."""
    agreement: np.ndarray
    """(T,) share of the tracked corners that agree with it; 0 where unknown. The first frame that is known has 1."""


@dataclass(frozen=True)
class _Known:
    """A frame whose place is known, with its key frame's corners that still agree, in analysed pixels."""

    image: np.ndarray
    to_first: np.ndarray
    agreement: float
    key_to_first: np.ndarray
    """The key frame's own transform."""
    in_key: np.ndarray
    """(N, 2) float32 corners in the key frame."""
    here: np.ndarray
    """(N, 2) float32 the same in this frame."""
    count: int
    """Corners that the key frame began with."""


def estimate_camera_path(frames: Iterable[np.ndarray], wrists: np.ndarray, reach: float) -> CameraPath:
    """Follow the camera.

    Args:
        frames: T frames (H, W, 3) uint8 RGB.
        wrists: (T, 2) pixels, NaN where unknown: corners near them belong to the hand.
        reach: how near, as a share of the longer side.
    """
    transforms: list[np.ndarray] = []
    agreement: list[float] = []
    last: _Known | None = None
    lost = 0
    to_small = np.eye(3)
    for frame, wrist in zip(frames, wrists, strict=True):
        small, to_small = _analysed(frame)
        hand = to_small[:2, :2] @ wrist + to_small[:2, 2], reach * max(small.shape)
        found = _follow(last, small) if last is not None and lost <= PATIENCE else None
        if found is not None:
            found = _renewed(found, *hand)
        elif np.count_nonzero(agreement) < 2 and (last is None or lost >= PATIENCE):
            found = _begin(small, *hand)
            if found is not None:  # a frame that nothing could be followed from is no beginning
                agreement = [0.0] * len(agreement)
        last, lost = (last, lost + 1) if found is None else (found, 0)
        transforms.append(np.eye(3) if last is None else last.to_first)
        agreement.append(0.0 if found is None else found.agreement)
    back = np.linalg.inv(to_small)
    return CameraPath(back @ np.stack(transforms) @ to_small, np.array(agreement))


def _begin(image: np.ndarray, hand: np.ndarray, radius: float) -> _Known | None:
    """The first frame that is known, or None where it has too few corners to be followed."""
    corners = _corners(image, hand, radius)
    if len(corners) < MIN_CORNERS:
        return None
    return _Known(image, np.eye(3), 1.0, np.eye(3), corners, corners, len(corners))


def _renewed(known: _Known, hand: np.ndarray, radius: float) -> _Known:
    """The same frame as its own key frame, if too few corners are left of the old one and it has enough."""
    if len(known.here) >= max(MIN_CORNERS, RENEW * known.count):
        return known
    corners = _corners(known.image, hand, radius)
    if len(corners) < MIN_CORNERS:
        return known
    return replace(known, key_to_first=known.to_first, in_key=corners, here=corners, count=len(corners))


def _follow(known: _Known, image: np.ndarray) -> _Known | None:
    """Track the key frame's corners from a known frame into another, or None where they do not agree."""
    start = known.here[:, None]
    options = {"winSize": (21, 21), "maxLevel": 4, "criteria": (3, 20, 0.01)}
    # The stubs of OpenCV lack that None lets it allocate the result.
    there, found, _ = cv2.calcOpticalFlowPyrLK(known.image, image, start, None, **options)  # pyrefly: ignore[no-matching-overload]
    back, returned, _ = cv2.calcOpticalFlowPyrLK(image, known.image, there, None, **options)  # pyrefly: ignore[no-matching-overload]
    error = np.hypot(*(back - start)[:, 0].T)
    good = (found[:, 0] > 0) & (returned[:, 0] > 0) & (error < BACK_ERROR)
    in_key, here = known.in_key[good], there[good, 0]
    if len(here) < MIN_CORNERS:
        return None
    cv2.setRNGSeed(0)
    matrix, agrees = cv2.estimateAffinePartial2D(
        here, in_key, ransacReprojThreshold=REPROJECTION, maxIters=500, confidence=0.999
    )
    if matrix is None or agrees.mean() < MIN_AGREEING:
        return None
    inside = agrees[:, 0] > 0
    return replace(
        known,
        image=image,
        to_first=known.key_to_first @ np.vstack([matrix, [0, 0, 1]]),
        agreement=float(inside.mean()),
        in_key=in_key[inside],
        here=here[inside],
    )


def _corners(image: np.ndarray, hand: np.ndarray, radius: float) -> np.ndarray:
    """(N, 2) float32 corners outside a disc around the hand, the strongest of each cell of a grid.

    Per cell, because a bright textured thing in front of a plain wall has the strongest corners of the picture; the
    background is what covers most of it.
    """
    mask = np.full(image.shape, 255, np.uint8)
    if np.isfinite(hand).all():
        cv2.circle(mask, np.round(hand).astype(int).tolist(), round(radius), 0, -1)
    found = cv2.goodFeaturesToTrack(image, 40 * CELLS, qualityLevel=0.001, minDistance=7, mask=mask)
    if found is None:
        return np.empty((0, 2), np.float32)
    side = np.sqrt(image.size / CELLS)
    column, row = (found[:, 0] // side).astype(int).T
    cell = row * image.shape[1] + column
    order = np.argsort(cell, kind="stable")  # within a cell the strongest stay first
    rank = np.arange(len(order)) - np.searchsorted(cell[order], cell[order])
    return found[order[rank < PER_CELL], 0]


def _analysed(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grey image whose longer side is at most `SIDE`, and the (3, 3) map to its pixels."""
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    small, _ = shrunk(gray, SIDE)
    x, y = small.shape[1] / gray.shape[1], small.shape[0] / gray.shape[0]
    return small, np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1.0]])
