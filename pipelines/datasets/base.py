"""What a reader of an on-disk format offers, and what all readers share.

`discover` is cheap and opens no video; `read` opens one clip, checks it, hashes it and indexes its frames.
A reader adds nothing that the files do not say: an unknown calibration, pose or instruction stays empty.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import numpy as np

from data_schemas.demonstrations import Demonstration
from data_schemas.errors import UserError
from data_schemas.identity import demonstration_id, file_sha256
from data_schemas.strict_model import StrictModel
from pipelines.datasets.clip_files import inside
from pipelines.datasets.robot_state import RobotState
from pipelines.inputs import SourceClip
from pipelines.video import VideoIndex


class Skip(Exception):
    """A sound clip that is not wanted, for a named reason; the ingest stage records it as filtered."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class ReaderOptions(StrictModel):
    """Base of all reader options: what changes a row."""


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


def check_root(raw_root: Path) -> None:
    """Refuse a root that is no folder, before a reader says what it misses there.

    Raises:
        UserError: it is none.
    """
    if not raw_root.is_dir():
        raise UserError(f"{raw_root} is no folder: give the one that holds the raw videos.")


def no_clips(raw_root: Path, dataset: str) -> UserError:
    """The error of a root in which a reader finds its layout and nothing else."""
    return UserError(f"{raw_root} holds no clip of the data set '{dataset}': give another root, or add some.")


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
