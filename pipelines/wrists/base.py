"""What a hand detector and a wrist annotator promise, whichever model is behind them.

Convention: pixels (x, y) of the original frame, pixel centres at integers as in OpenCV; frames are uint8 RGB.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data_schemas.cues import WristTrack
from data_schemas.demonstrations import Demonstration
from pipelines.inputs import VideoInput

NUM_KEYPOINTS = 21
"""MediaPipe, WiLoR and OpenPose share one order: 0 wrist, then four joints of each finger, thumb first."""

WRIST = 0


@dataclass(frozen=True, eq=False)
class Hand:
    """One hand in one frame."""

    keypoints: np.ndarray
    """(21, 2) float64 pixels of the original frame; index 0 is the wrist. May lie outside the frame."""
    confidence: float
    """Probability in [0, 1] that a hand is there."""
    right: float
    """Probability in [0, 1] that it is a right hand (of a camera that does not mirror)."""

    @property
    def wrist(self) -> np.ndarray:
        """(2,) pixels."""
        return self.keypoints[WRIST]

    @property
    def box(self) -> np.ndarray:
        """(4,) x0 y0 x1 y1 around the keypoints, pixels."""
        return np.concatenate([self.keypoints.min(axis=0), self.keypoints.max(axis=0)])

    @cached_property
    def size(self) -> float:
        """Longer side of `box`, pixels."""
        box = self.box
        return float((box[2:] - box[:2]).max())


@dataclass(frozen=True)
class HandBox:
    """Where a hand may be: pixels of the frame, pixel centres at integers."""

    center: np.ndarray
    """(2,) x y."""
    size: float
    """Longer side."""
    score: float


class HandDetector(ABC):
    """Finds all hands in consecutive frames of a clip."""

    source: str
    """`model@revision`."""
    license: str
    memory_outside_mb: tuple[float, float] = 0.0, 0.0
    """Highest memory, and GPU memory, that it has taken outside this process."""

    @abstractmethod
    def detect(self, frames: np.ndarray, previous: Sequence[Hand] = ()) -> list[list[Hand]]:
        """Hands of every frame, in no particular order.

        Args:
            frames: (B, H, W, 3) uint8 RGB, consecutive, so that a detector may use neighbours in time.
            previous: hands of the frame before the first; a detector that looks at single frames ignores them.

        Returns:
            B lists, empty where no hand was found.
        """

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Release what it holds outside this process."""


class WristAnnotator(ABC):
    """Gives a demonstration its wrist or end-effector track."""

    @property
    @abstractmethod
    def source(self) -> str:
        """`model@revision`, `projection` or `dataset`: as it stands in `WristTrack.source`."""

    @abstractmethod
    def annotate(self, clip: VideoInput) -> WristTrack:
        """Track with one entry per frame of the demonstration.

        Raises:
            BadInput: the video or the poses cannot be read.
        """


def wrist_track(
    demonstration: Demonstration, source: str, points: np.ndarray, visibility: np.ndarray, flags: list[str]
) -> WristTrack:
    """Row of a track; a point `found` outside the picture becomes `out_of_frame` and is not visible.

    Args:
        points: (T, 2) pixels, NaN where there is none.
        visibility: (T,) probability, used where a point is visible.
        flags: (T,) as in `WristTrack.flags`, not yet knowing the picture's borders.
    """
    # Pixel centres are at integers, so the picture spans -0.5 to size - 0.5.
    size = np.array([demonstration.width, demonstration.height])
    inside = ((points >= -0.5) & (points < size - 0.5)).all(axis=1)
    found = np.array([flag == "found" for flag in flags], dtype=bool)
    visible = found & inside
    return WristTrack(
        demonstration_id=demonstration.demonstration_id,
        source=source,
        points=points.astype(np.float32),
        visibility=np.where(visible, visibility, 0).astype(np.float32),
        visible=visible,
        flags=np.where(found & ~inside, "out_of_frame", flags).tolist(),
    )
