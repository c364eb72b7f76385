"""What every open-vocabulary detector looks like: boxes of a phrase in a picture.

*Convention*: frames are RGB uint8 (H, W, 3); boxes are x0 y0 x1 y1 in pixels of that frame, where pixel i
spans [i, i + 1].
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Detection:
    """One box."""

    box: np.ndarray
    """(4,) float32."""
    score: float
    label: str
    """The words of the phrase that the box answers."""


@dataclass(frozen=True)
class Thresholds:
    """Which boxes are kept."""

    box: float = 0.3
    """Smallest score of a box: that of its best word."""
    text: float = 0.25
    """Words that score less are not part of the label."""


class PhraseDetector(ABC):
    """Finds what a phrase names."""

    model: str
    """`name@revision`."""

    def check(self) -> None:  # noqa: B027 - a detector of one's own may need nothing
        """
        Raises:
            UserError: the weights or the library are not on this machine.
        """

    @abstractmethod
    def load(self) -> None:
        """`check`, then load the weights; called once, in the worker."""

    @abstractmethod
    def detect(self, frames: Sequence[np.ndarray], phrases: Sequence[str]) -> list[list[Detection]]:
        """Boxes of `phrases[i]` in `frames[i]`, best first; frames may be of several sizes."""


def caption(phrase: str) -> str:
    """A phrase as these detectors were trained to read it: lower case, one sentence, a full stop."""
    return " ".join(phrase.lower().replace(".", " ").split()) + "."
