"""Smaller pictures, for what is computed on less than every pixel."""

import cv2
import numpy as np


def shrunk(image: np.ndarray, longest: int) -> tuple[np.ndarray, float]:
    """The image (H, W[, C]) with a longer side of at most `longest` pixels, and the scale that this took.

    Every pixel is the mean of the area it covers; an image that is small enough is returned as it is.
    """
    height, width = image.shape[:2]
    scale = min(1.0, longest / max(height, width))
    if scale == 1:
        return image, scale
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), scale
