"""Random views of a clip: one square crop and one colour change, the same for all of its frames.

A transition is what changes between two frames; a view drawn for each frame would add a change that no action made.

Convention: cue points are (x, y) as a share of frame width and height, before and after.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from data_schemas.samples import FRAME_SIZE
from harp.data.config import AugmentationConfig

LUMA = np.array((0.299, 0.587, 0.114), np.float32)
"""Rec. 601 weights of red, green and blue."""
MID_GREY = 127.5


@dataclass(frozen=True)
class View:
    """A crop in whole pixels of the published frame, and factors of the colours."""

    left: int
    top: int
    size: int
    brightness: float
    contrast: float
    saturation: float

    def frames(self, frames: np.ndarray) -> np.ndarray:
        """(n, H, W, 3) uint8 RGB frames through the view, at their old size."""
        rows, columns = slice(self.top, self.top + self.size), slice(self.left, self.left + self.size)
        seen = frames
        if self.size < FRAME_SIZE:
            seen = np.stack(
                [
                    cv2.resize(f[rows, columns], (FRAME_SIZE, FRAME_SIZE), interpolation=cv2.INTER_LINEAR)
                    for f in frames
                ]
            )
        if self.brightness == self.contrast == self.saturation == 1:
            return seen
        colours = seen.astype(np.float32) * self.brightness
        colours = MID_GREY + self.contrast * (colours - MID_GREY)
        grey = colours @ LUMA
        colours = grey[..., None] + self.saturation * (colours - grey[..., None])
        return colours.round().clip(0, 255).astype(np.uint8)

    def points(self, points: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(..., 2) points and their (...) mask through the view; a point that leaves the frame is masked."""
        corner = np.array((self.left, self.top), np.float32)
        moved = (points * FRAME_SIZE - corner) / self.size
        inside = visible & ((moved >= 0) & (moved < 1)).all(-1)
        return np.where(inside[..., None], moved, 0).astype(np.float32), inside


def draw_view(config: AugmentationConfig, rng: np.random.Generator) -> View:
    """A view; always takes as many random numbers."""
    side, left, top = rng.uniform(config.min_crop, 1), rng.uniform(), rng.uniform()
    size = max(1, round(side * FRAME_SIZE))
    brightness, contrast, saturation = (
        float(1 + rng.uniform(-spread, spread))
        for spread in (config.brightness, config.contrast, config.saturation)
    )
    return View(
        left=round(left * (FRAME_SIZE - size)),
        top=round(top * (FRAME_SIZE - size)),
        size=size,
        brightness=brightness,
        contrast=contrast,
        saturation=saturation,
    )
