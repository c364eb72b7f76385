"""What a reader of an on-disk format offers, and what all readers share.

`discover` is cheap and opens no video; `read` opens one clip, checks it, hashes it and indexes its frames.
A reader adds nothing that the files do not say: an unknown calibration, pose or instruction stays empty.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import ClassVar, Generic, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from data_schemas.demonstrations import Demonstration
from data_schemas.errors import BadInput
from data_schemas.identity import content_id, demonstration_id, file_sha256
from pipelines.inputs import SourceClip
from pipelines.video import VideoIndex, index_video


class Skip(Exception):
    """A sound clip that is not wanted, for a named reason; the ingest stage records it as filtered."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class ReaderOptions(BaseModel):
    """Base of all reader options: what changes a row."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Options = TypeVar("Options", bound=ReaderOptions)


class Reader(ABC, Generic[Options]):
    """One on-disk format.

    Args:
        options: of the format.
        dataset: name of the data set in tables, part of every demonstration's id.
    """

    options_type: ClassVar[type[ReaderOptions]]

    def __init__(self, options: Options, dataset: str) -> None:
        self.options = options
        self.dataset = dataset

    @abstractmethod
    def discover(self, raw_root: Path) -> Iterator[SourceClip]:
        """All clips of both embodiments, in an order that depends on their names only.

        In `hints`, `video` is the video's path and `watch` lists all files that `read` looks at, relative to
        the raw root, whether they exist or not; `task` and `instruction` are as in `Demonstration`.

        Raises:
            UserError: the root is not of this layout.
        """

    @abstractmethod
    def read(self, clip: SourceClip, raw_root: Path) -> Demonstration:
        """Open, check, hash and index one clip.

        Raises:
            BadInput: the clip is broken.
            Skip: the clip is sound but not wanted.
        """


def inside(raw_root: Path, relative: str) -> Path:
    """The path below the raw root, refused if it leaves it (absolute, `..`, or through a symbolic link).

    Raises:
        BadInput: `path_escape`.
    """
    pure = PurePosixPath(relative)
    path = raw_root / pure
    if pure.is_absolute() or ".." in pure.parts or not path.resolve().is_relative_to(raw_root.resolve()):
        raise BadInput("path_escape", f"{relative} leads out of the raw root; copy the data into it.")
    return path


def source_id(clip: SourceClip, raw_root: Path) -> str:
    """Id of a clip as it lies on disk now, without reading it.

    It changes with what the reader was told about the clip and with the size or modification time of any
    file it watches: a replaced file is read anew, an unchanged one is not hashed again.
    """
    states = []
    for relative in clip.hints["watch"]:
        try:
            status = (raw_root / relative).stat()
            states.append(f"{relative}:{status.st_size}:{status.st_mtime_ns}")
        except OSError:
            states.append(f"{relative}:absent")
    hints = json.dumps(clip.hints, sort_keys=True)
    return content_id("source", clip.dataset, clip.source, clip.camera, clip.pair_key or "", hints, *states)


@dataclass(frozen=True)
class RobotState:
    """End-effector poses (camera frame, as in `Demonstration`) and gripper widths, or nothing of it."""

    effector_times: np.ndarray = field(default_factory=lambda: np.empty(0))
    effector_poses: np.ndarray = field(default_factory=lambda: np.empty((0, 7)))
    gripper_times: np.ndarray = field(default_factory=lambda: np.empty(0))
    gripper_widths: np.ndarray = field(default_factory=lambda: np.empty(0))


def make_demonstration(
    clip: SourceClip,
    raw_root: Path,
    index: VideoIndex,
    timestamps: np.ndarray,
    *,
    K: np.ndarray | None,
    robot: RobotState,
    license_name: str,
) -> Demonstration:
    """The row of a clip.

    Args:
        timestamps: (T,) seconds from the first frame; T may be smaller than the index by frames that the
            recorder has no time for, and then those are left out.
        K: (3, 3) intrinsics of the video as it is, or None.
    """
    sha256 = file_sha256(inside(raw_root, clip.hints["video"]))
    frames = len(timestamps)
    intervals = np.diff(timestamps)
    return Demonstration(
        demonstration_id=demonstration_id(clip.dataset, sha256, clip.camera),
        dataset=clip.dataset,
        embodiment=clip.embodiment,
        camera=clip.camera,
        source=clip.source,
        pair_key=clip.pair_key,
        task=clip.hints["task"],
        instruction=clip.hints["instruction"],
        license=license_name,
        video_path=clip.hints["video"],
        source_sha256=sha256,
        codec=index.codec,
        width=index.width,
        height=index.height,
        num_frames=frames,
        fps=float(1 / np.median(intervals)) if intervals.size else index.fps,
        timestamps=timestamps,
        pts=index.pts[:frames],
        keyframes=index.keyframes[index.keyframes < frames],
        intrinsics=np.empty(0) if K is None else K.ravel(),
        effector_times=robot.effector_times,
        effector_poses=robot.effector_poses,
        gripper_times=robot.gripper_times,
        gripper_widths=robot.gripper_widths,
        object_box=np.empty(0, np.float32),
        object_box_frame=0,
    )


def check_intrinsics(K: np.ndarray, name: str) -> np.ndarray:
    """(3, 3) float64 of a (3, 3) or (3, 4) matrix; raises `bad_calibration_shape`, `bad_calibration`."""
    try:
        K = np.asarray(K, np.float64)
    except (TypeError, ValueError):
        raise BadInput("bad_calibration", f"{name} holds intrinsics that are not numbers.") from None
    if K.shape not in ((3, 3), (3, 4)):
        raise BadInput(
            "bad_calibration_shape", f"{name} holds intrinsics of shape {K.shape}, expected (3, 3) or (3, 4)."
        )
    K = K[:, :3]
    if not np.isfinite(K).all() or K[0, 0] == 0 or K[1, 1] == 0 or not np.allclose(K[2], (0, 0, 1)):
        raise BadInput(
            "bad_calibration", f"{name} holds intrinsics that are no pinhole matrix: {K.tolist()}."
        )
    return K


def check_poses(times: np.ndarray, poses: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Sort by time, drop repeats of a time, normalize quaternions.

    Args:
        times: (M,) seconds.
        poses: (M, 7) xyz metres, quaternion wxyz.

    Raises:
        BadInput: `bad_pose_shape`, `nan_pose`, `bad_quaternion` (length off one by more than 10 %).
    """
    if poses.ndim != 2 or poses.shape[1] != 7 or times.shape != poses.shape[:1]:
        raise BadInput(
            "bad_pose_shape",
            f"{name} holds {times.shape} times and poses of shape {poses.shape}, expected (M,) and (M, 7).",
        )
    bad = ~(np.isfinite(poses).all(axis=1) & np.isfinite(times))
    if bad.any():
        raise BadInput("nan_pose", f"{name} holds {bad.sum()} of {len(bad)} poses that are not finite.")
    lengths = np.linalg.norm(poses[:, 3:], axis=1)
    if np.any(np.abs(lengths - 1) > 0.1):
        raise BadInput(
            "bad_quaternion",
            f"{name} holds quaternions of length {lengths.min():.3g} to {lengths.max():.3g}.",
        )
    poses = np.concatenate([poses[:, :3], poses[:, 3:] / lengths[:, None]], axis=1)
    times, first = np.unique(times, return_index=True)
    return times, poses[first]


def index_clip(clip: SourceClip, raw_root: Path) -> VideoIndex:
    """Index the clip's video, refusing one outside the raw root."""
    return index_video(inside(raw_root, clip.hints["video"]))
