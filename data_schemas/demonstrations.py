"""Demonstrations: one video of one embodiment by one camera, with what the data set says about it."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import pyarrow as pa

from data_schemas.row import Array, Row

Embodiment = Literal["human", "robot"]


@dataclass(frozen=True, eq=False)
class Demonstration(Row):
    """One row of `demonstrations`.

    Convention: pixels (x, y) of the original frame; camera frame x right, y down, z forward, metres;
    quaternions wxyz; times in seconds from the first frame of the clip.
    """

    TABLE: ClassVar[str] = "demonstrations"

    demonstration_id: str
    dataset: str
    embodiment: str
    """`human` or `robot`."""
    camera: str
    source: str
    """Where it lies, for people: path of the scene relative to the raw root."""
    pair_key: str | None
    """Equal for the two halves of a pair; None for a demonstration that was never meant to be paired. Where
    several cameras film one scene it is `scene/camera`: what stands before the last slash shares a split."""
    task: str
    """The data set's own name or number of the task."""
    instruction: str
    """English sentence; empty where the data set gives none."""
    license: str
    """SPDX identifier where one exists, else the data set's own words."""

    video_path: str
    """Relative to the raw root, with forward slashes."""
    source_sha256: str
    codec: str
    width: int
    height: int
    num_frames: int
    fps: float
    """1 / median frame interval by `timestamps`."""
    timestamps: Annotated[np.ndarray, Array(pa.float64())]
    """(T,) seconds; strictly increasing; the recorder's clock where there is one, else the container's."""
    pts: Annotated[np.ndarray, Array(pa.int64())]
    """(T,) presentation time stamps of the video stream in display order: the index for exact seeks."""
    keyframes: Annotated[np.ndarray, Array(pa.int64())]
    """(G,) display indices of the key frames."""

    intrinsics: Annotated[np.ndarray, Array(pa.float64())]
    """(9,) row-major K for this video's resolution, or (0,) where unknown."""
    effector_times: Annotated[np.ndarray, Array(pa.float64())]
    """(M,) seconds on the clock of `timestamps`; (0,) where the robot's pose is unknown."""
    effector_poses: Annotated[np.ndarray, Array(pa.float64(), 7)]
    """(M, 7) end-effector pose in the camera frame: x y z metres, quaternion wxyz."""
    gripper_times: Annotated[np.ndarray, Array(pa.float64())]
    """(G,) seconds; (0,) where unknown."""
    gripper_widths: Annotated[np.ndarray, Array(pa.float64())]
    """(G,) opening in metres."""
    object_box: Annotated[np.ndarray, Array(pa.float32())]
    """(4,) x0 y0 x1 y1 of the manipulated object in frame `object_box_frame`, or (0,) where the data set has none."""
    object_box_frame: int
    revision: str | None = None
    """Hash of what the row says, wherever its files lie; None in rows written before there was one."""

    @property
    def K(self) -> np.ndarray | None:
        """(3, 3) intrinsics, or None."""
        return self.intrinsics.reshape(3, 3) if self.intrinsics.size else None
