"""What to align on where a side has no track: a description of every frame by what moves in it.

`ForegroundProfile` needs no weights. The median of the clip's frames is the background; what differs from it is
the arm and the things it moved. The foreground is summed along columns and along rows: two profiles of 24 bins
that shift as the arm moves, whatever the arm looks like. It assumes a camera that stands still and two views
that are not far apart. On frame-identical clips of a hand and six robot arms with one side warped in time it
recovers the warp to about 2 % of the clip's length, where appearance (an 8×8 colour grid) fails at 9 %,
because it compares the arm's colour, and frame differences reach 4 %, because they compare speed
(`benchmarks/alignment`).
"""

from collections.abc import Iterable
from typing import Protocol

import cv2
import numpy as np

SIDE = 96
"""Frames are shrunk to SIDE × SIDE pixels: averages out sensor and compression noise."""
BINS = 24
NOISE = 20.0
"""Grey levels of difference from the background that count as nothing."""
FULL = 40.0
"""Grey levels above NOISE that count as wholly foreground: bounds the weight of high contrast."""
MIN_AREA = 0.002
"""Share of the image that must be foreground for a frame to say anything."""


class FrameDescriptor(Protocol):
    """A clip in, one vector per frame out."""

    name: str
    """`model@revision`, recorded in the stage's key."""

    def describe(self, frames: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """(T, D) float32 descriptions of (H, W, 3) uint8 RGB frames, and (T,) bool whether each says something."""
        ...


class ForegroundProfile:
    """Column and row profiles of what differs from the clip's median frame."""

    name = "foreground_profile@1"

    def describe(self, frames: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """See `FrameDescriptor`; D = 2 × BINS."""
        small = np.stack([cv2.resize(f, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for f in frames])
        # 64 frames are enough for a median, and keep it cheap on long clips.
        sample = small[np.linspace(0, len(small) - 1, min(len(small), 64)).round().astype(int)]
        background = np.median(sample, axis=0).astype(np.float32)
        foreground = np.stack([np.abs(f - background).max(axis=2) for f in small])
        foreground = np.clip((foreground - NOISE) / FULL, 0.0, 1.0)
        columns = foreground.mean(axis=1).reshape(len(small), BINS, -1).mean(axis=2)
        rows = foreground.mean(axis=2).reshape(len(small), BINS, -1).mean(axis=2)
        profile = np.concatenate([columns, rows], axis=1).astype(np.float32)
        return profile, foreground.mean(axis=(1, 2)) > MIN_AREA
