"""What every object annotator looks like: ground a box, choose keypoints in it, track them.

The parts are separate because the paper's chain mixes sources (paper A.1): the box may come from the data set,
a detector that reads a phrase, or motion; the tracker may be TAPIR or Lucas–Kanade. Each part says where its
result came from as `model@revision`.

Convention: frames are RGB uint8 (H, W, 3); pixels (x, y) of the original frame; boxes x0 y0 x1 y1.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from data_schemas.cues import WristTrack


class FrameSource(Protocol):
    """What annotators read frames from: an open video (`pipelines.video.open_video`) or `ArrayFrames`."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    def __len__(self) -> int: ...

    def frames(self, indices: Iterable[int], /) -> np.ndarray:
        """(len(indices), H, W, 3) RGB uint8."""
        ...

    def iter_frames(self) -> Iterator[np.ndarray]:
        """All frames in display order."""
        ...


@dataclass(frozen=True)
class ArrayFrames:
    """A clip that is already in memory, (T, H, W, 3) RGB uint8, as a `FrameSource`."""

    array: np.ndarray

    @property
    def width(self) -> int:
        return self.array.shape[2]

    @property
    def height(self) -> int:
        return self.array.shape[1]

    def __len__(self) -> int:
        return len(self.array)

    def frames(self, indices: Iterable[int], /) -> np.ndarray:
        return self.array[list(indices)]

    def iter_frames(self) -> Iterator[np.ndarray]:
        return iter(self.array)


@dataclass(frozen=True)
class GroundedBox:
    """Where the manipulated object is at its first occurrence."""

    box: np.ndarray
    """(4,) x0 y0 x1 y1 pixels of frame `frame`."""
    frame: int
    score: float
    """0 to 1; comparable only between boxes of one source."""
    source: str
    """`dataset` or `model@revision`."""
    mask: np.ndarray | None = None
    """(H, W) bool, the object's pixels in frame `frame`, where the source knows them."""


@dataclass(frozen=True)
class GroundingRequest:
    """All that a grounder may look at."""

    video: FrameSource
    wrist: WristTrack
    """Wrist or end-effector track; may be invisible in many frames, or in all."""
    embodiment: str
    """`human` or `robot`."""
    phrase: str = ""
    """The object in words; empty where no one said."""


@dataclass(frozen=True)
class PointTracks:
    """Tracked points of one clip."""

    points: np.ndarray
    """(T, N, 2) pixels (x, y); a best estimate also where hidden, NaN where there is none."""
    visibility: np.ndarray
    """(T, N) probability that the point is seen where it is said to be."""
    source: str
    visible: np.ndarray = field(init=False)
    """(T, N) visibility > 0.5."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "visible", self.visibility > 0.5)


class ObjectDescriber(ABC):
    """Names the manipulated object of a clip that comes without words."""

    model: str
    """`name@revision`."""
    num_frames: int
    """Frames that it wants to see of a clip."""

    def check(self) -> None:  # noqa: B027 - most need nothing
        """See, without loading anything, that what `load` takes from this machine is there.

        Raises:
            UserError: it is not; says how to get it.
        """

    @abstractmethod
    def load(self) -> None:
        """Load what it needs; called once, in the worker."""

    @abstractmethod
    def describe(self, clips: Sequence[np.ndarray]) -> list[str]:
        """Noun phrases for clips of (S, H, W, 3) frames in order of time; "" where the object stays unknown.

        Raises:
            BadInput: `describer_unavailable`, retryable: the model could not be asked.
        """


class ObjectGrounder(ABC):
    """Finds the manipulated object."""

    model: str
    """`name@revision`."""

    def check(self) -> None:  # noqa: B027 - most need nothing
        """As `ObjectDescriber.check`."""

    def load(self) -> None:  # noqa: B027 - most need nothing
        """Load what it needs; called once, in the worker."""

    @abstractmethod
    def ground(self, requests: Sequence[GroundingRequest]) -> list[GroundedBox | None]:
        """Boxes of the manipulated objects in the first frame that shows each; None where it was not found."""


class KeypointSelector(ABC):
    """Chooses the points that stand for an object."""

    @abstractmethod
    def select(self, frame: np.ndarray, box: GroundedBox, n: int) -> np.ndarray:
        """(n, 2) float32 pixels (x, y) on the object. `frame` is (H, W, 3), the one `box.frame` names."""


class PointTracker(ABC):
    """Follows points of one object through a clip, forward and backward in time."""

    model: str
    """`name@revision`."""

    def check(self) -> None:  # noqa: B027 - most need nothing
        """As `ObjectDescriber.check`."""

    def load(self) -> None:  # noqa: B027 - most need nothing
        """Load what it needs; called once, in the worker."""

    @abstractmethod
    def track(self, video: FrameSource, queries: np.ndarray) -> PointTracks:
        """Track `queries`, (N, 3) float: frame index, x, y."""
