"""Colour arithmetic that numpy does slowly over a last axis of three."""

import cv2
import numpy as np


def largest_channel(image: np.ndarray) -> np.ndarray:
    """(H, W) largest of the three channels of (H, W, 3)."""
    return np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2])


def channel_range(image: np.ndarray) -> np.ndarray:
    """(H, W) largest minus smallest channel of (H, W, 3)."""
    return largest_channel(image) - np.minimum(np.minimum(image[..., 0], image[..., 1]), image[..., 2])


def colour_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(H, W) largest difference in any channel of two (H, W, 3) images of one type."""
    return largest_channel(cv2.absdiff(a, b))
