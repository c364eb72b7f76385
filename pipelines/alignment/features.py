"""What to align on where a side has no track: a description of every frame by where in it something moves.

`MotionProfile` needs no weights. The difference of the frames before and after is summed along columns and along
rows: two profiles of 8 bins that say where the arm moves, whatever the arm looks like and however the background
differs. Divided by its own length, damped where that is small, a profile depends little on speed, which is what
differs between the two clips. It assumes a camera that stands still.

Mean and worst error in % of the human clip's length: 1.3 and 2.0 on 12 simulated pairs with a camera of its own for
each side (3.3 and 7.5 without alignment); 2.7 and 13 on 30 frame-identical pairs of a real hand and six robot arms,
the hand's clip strongly warped in time (9.2 and 17 without alignment). Other descriptions on 7 of the simulated and
10 of the real pairs, where this one has 1.3 and 1.5 on average: undivided differences 1.2 and 3.6; profiles of the
foreground (difference from the clip's median frame) 2.8 and 2.6, they move with the camera; an 8×8 colour grid, which
compares the arms' colours, was worse than no alignment.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

import cv2
import numpy as np

SIDE = 96
"""Frames are shrunk to SIDE × SIDE grey pixels."""
BLUR = 2.0
"""Standard deviation in pixels of the shrunk frame: an edge that moves by less than a pixel still differs smoothly."""
NOISE, FULL = 2.0, 42.0
"""Grey levels: smaller differences count as none, larger ones as this much."""
BINS = 8
DAMPING = 0.3
"""Of the clip's mean squared profile, added to each frame's own before dividing."""
MIN_MOTION = 0.05
"""Mean grey levels of difference that the liveliest 5 % of frames must reach for a clip to say anything."""


class FrameDescriptor(Protocol):
    """A clip in, one vector per frame out."""

    name: str
    """`model@revision`, recorded in the stage's key."""

    def describe(self, frames: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """(T, D) float32 descriptions of (H, W, 3) uint8 RGB frames, and (T,) bool whether each may be used."""
        ...


class MotionProfile:
    """Column and row profiles of the difference between neighbouring frames."""

    name = "motion_profile@1"

    def describe(self, frames: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """See `FrameDescriptor`; D = 2 × BINS. No frame may be used of a clip in which nothing moves.

        Of a frame that has passed only its bins are kept, for clips of any length.
        """
        bins = np.stack([_bins(moved) for moved in _differences(map(_shrunk, frames))])
        # Bins are equally wide, so the mean of those of the columns is the frame's.
        lively = np.percentile(bins[:, :BINS].mean(axis=1), 95) >= MIN_MOTION
        squared = bins.sum(axis=1, keepdims=True)
        values = np.sqrt(bins) / np.sqrt(squared + DAMPING * squared.mean() + 1e-12)
        return values.astype(np.float32), np.full(len(bins), lively)


def _differences(small: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """(SIDE, SIDE) how the frames before and after each frame differ; at a clip's ends it stands in itself."""
    following = iter(small)
    before = here = next(following)
    for after in following:
        yield _moved(before, after)
        before, here = here, after
    yield _moved(before, here)


def _moved(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.clip(np.abs(after - before), NOISE, FULL) - NOISE


def _bins(moved: np.ndarray) -> np.ndarray:
    """(2 × BINS,) means over bands of columns, then of rows."""
    columns, rows = moved.mean(axis=0), moved.mean(axis=1)
    return np.concatenate([columns, rows]).reshape(2 * BINS, -1).mean(axis=1)


def _shrunk(frame: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE) float32 grey levels."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    return cv2.GaussianBlur(small, (0, 0), BLUR)
