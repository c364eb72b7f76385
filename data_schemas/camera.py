"""The camera's own motion, where it is not fixed."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

import numpy as np
import pyarrow as pa

from data_schemas.row import Array, Row


@dataclass(frozen=True, eq=False)
class CameraMotion(Row):
    """One row of `camera_motion`: what the picture as a whole does.

    Convention: pixels (x, y) of the original frame, centres at integers; a transform takes homogeneous pixels of a
    frame to pixels of the clip's first frame, continued beyond its borders.
    """

    TABLE: ClassVar[str] = "camera_motion"

    demonstration_id: str
    source: str
    """Method, `name@version`."""
    transforms: Annotated[np.ndarray, Array(pa.float64(), 3, 3)]
    """(T, 3, 3); where the motion is unknown, the last one known."""
    agreement: Annotated[np.ndarray, Array(pa.float32())]
    """(T,) share of the background that agrees with it; 0 where it is unknown."""

    @classmethod
    def unknown(cls, demonstration_id: str, num_frames: int) -> Self:
        """A camera that moves nobody knows how."""
        transforms = np.tile(np.eye(3), (num_frames, 1, 1))
        return cls(demonstration_id, "", transforms, np.zeros(num_frames, np.float32))

    @property
    def known(self) -> np.ndarray:
        """(T,) bool."""
        return self.agreement > 0

    def against_scene(self, points: np.ndarray) -> np.ndarray:
        """Tracks (T, ..., 2) in pixels of their frames as the first frame's camera would have seen them; NaN stays."""
        matrix = self.transforms.reshape(-1, *([1] * (points.ndim - 2)), 3, 3)
        moved = np.einsum("...ij,...j->...i", matrix[..., :2, :2], points) + matrix[..., :2, 2]
        return (
            moved / (np.einsum("...j,...j->...", matrix[..., 2, :2], points) + matrix[..., 2, 2])[..., None]
        )
