"""How much of a region has the colour that a phrase names, by the basic colour terms of English (Berlin & Kay 1969).

Compared is the hue angle in CIELAB, which shading hardly moves; pale pixels count less, as their hue is that of the light.
Black, white and grey are compared by lightness, brown is a dark orange and pink a light red. Names that the list does
not hold say nothing.
"""

import re

import cv2
import numpy as np

HUES = {
    "red": (210, 30, 30),
    "orange": (235, 125, 20),
    "yellow": (240, 210, 40),
    "green": (40, 150, 60),
    "turquoise": (40, 185, 190),
    "blue": (30, 70, 200),
    "purple": (130, 40, 150),
    "pink": (235, 130, 165),
    "brown": (120, 70, 35),
}
"""sRGB of a typical example."""
GREYS = {"black": 15.0, "grey": 55.0, "white": 95.0}
"""CIELAB lightness, 0 to 100."""
SYNONYMS = {"gray": "grey", "cyan": "turquoise", "teal": "turquoise", "violet": "purple", "silver": "grey"}
HUE_SPREAD, LIGHTNESS_SPREAD = 22.0, 20.0
"""Standard deviations in degrees and in lightness, wide enough for warm and cold light."""
FULL_CHROMA = 30.0
"""CIELAB chroma from which on a pixel's hue counts in full."""


def named_colour(phrase: str) -> str | None:
    """The first colour that a phrase names."""
    for word in re.findall(r"[a-z]+", phrase.lower()):
        name = SYNONYMS.get(word, word)
        if name in HUES or name in GREYS:
            return name
    return None


def colour_likeness(image: np.ndarray, name: str) -> np.ndarray:
    """(H, W) 0 to 1, how well each pixel of a (H, W, 3) RGB uint8 image answers to a colour of `HUES` or `GREYS`."""
    lightness, chroma, hue = _lightness_chroma_hue(image)
    if name in GREYS:
        return _bell((lightness - GREYS[name]) / LIGHTNESS_SPREAD) * _bell(chroma / FULL_CHROMA)
    typical_lightness, _, typical_hue = (
        float(value[0, 0]) for value in _lightness_chroma_hue(np.array([[HUES[name]]], np.uint8))
    )
    turn = (hue - typical_hue + 180) % 360 - 180
    likeness = _bell(turn / HUE_SPREAD) * np.minimum(1.0, chroma / FULL_CHROMA)
    if name in ("brown", "orange", "pink", "red"):  # the same hues, dark and light
        likeness *= _bell((lightness - typical_lightness) / (1.5 * LIGHTNESS_SPREAD))
    return likeness


def _lightness_chroma_hue(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CIELAB lightness 0 to 100, chroma, hue in degrees."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return lab[..., 0], np.hypot(lab[..., 1], lab[..., 2]), np.degrees(np.arctan2(lab[..., 2], lab[..., 1]))


def _bell(x: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * x**2)
