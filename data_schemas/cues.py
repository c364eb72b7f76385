"""Shared cues of a demonstration: wrist or end-effector track, object keypoint tracks.

A cue that was not seen is masked, never invented: its `visible` is False and its position may be NaN.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa

from data_schemas.row import Array, Row


@dataclass(frozen=True, eq=False)
class WristTrack(Row):
    """E_X of the paper: 2D human wrist or robot end effector, one point per frame, pixels (x, y)."""

    TABLE: ClassVar[str] = "wrist_tracks"

    demonstration_id: str
    source: str
    """Where it came from: `model@revision`, `projection` or `dataset`."""
    points: Annotated[np.ndarray, Array(pa.float32(), 2)]
    """(T, 2); NaN where nothing was found."""
    visibility: Annotated[np.ndarray, Array(pa.float32())]
    """(T,) probability that the point is seen where it is said to be."""
    visible: Annotated[np.ndarray, Array(pa.bool_())]
    """(T,)."""
    flags: list[str]
    """(T,) why a frame is as it is: `found`, `not_found`, `out_of_frame`, `behind_camera`, `no_pose`,
    `associated_elsewhere` (a hand was found, but not the tracked one)."""


@dataclass(frozen=True, eq=False)
class ObjectTrack(Row):
    """K_X of the paper: N_K keypoints of the manipulated object through the clip, pixels (x, y)."""

    TABLE: ClassVar[str] = "object_tracks"

    demonstration_id: str
    source: str
    """Point tracker, `model@revision`."""
    box_source: str
    """Who found the object: `dataset`, or the grounding method's `model@revision`."""
    phrase: str
    """The object in words; empty where no one said."""
    box: Annotated[np.ndarray, Array(pa.float32())]
    """(4,) x0 y0 x1 y1 in frame `box_frame`."""
    box_frame: int
    num_keypoints: int
    points: Annotated[np.ndarray, Array(pa.float32(), "num_keypoints", 2)]
    """(T, N_K, 2); best estimate also where hidden (NaN where there is none)."""
    visibility: Annotated[np.ndarray, Array(pa.float32(), "num_keypoints")]
    """(T, N_K) probability."""
    visible: Annotated[np.ndarray, Array(pa.bool_(), "num_keypoints")]
    """(T, N_K)."""
