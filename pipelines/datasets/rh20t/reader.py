"""Reader of RH20T and of everything written in its layout.

What is kept and what is not:

- A robot scene rated below `min_rating` is filtered (`low_rating`), and so is every clip of a camera on the
  gripper (`in_hand_camera`).
- A clip without calibration is kept unless `require_calibration`: its frames, its times and its pair are
  sound, only the end effector cannot be projected, so it has no poses. A robot scene counts as not
  calibrated when its folder of `calib/` or the camera in it is missing, or when its `calib_quality` is worse
  than `max_calib_quality` or -1. Quality 0 means that *some* cameras are not calibrated; those are missing in
  the files, and the others are used. Human scenes need no calibration: their wrist is found in the image.
- Recorder and encoder may disagree on the last frames. Up to `max_count_difference` frames without a time,
  or times without a frame, are cut from the end; more is broken (`timestamp_count_mismatch`), as then a
  frame is missing somewhere within.
- Sound is never opened: faces and voices of volunteers are not ours to spread.
"""

import logging
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np
from pydantic import Field

from data_schemas.demonstrations import Demonstration
from data_schemas.errors import BadInput
from pipelines.datasets.base import Reader, ReaderOptions, Skip, make_demonstration
from pipelines.datasets.clip_files import index_clip, inside
from pipelines.datasets.rh20t.files import (
    Metadata,
    load_gripper,
    load_intrinsics,
    load_metadata,
    load_poses,
    load_timestamps,
)
from pipelines.datasets.rh20t.layout import IN_HAND, Scene, find_scenes, load_instructions, subfolders
from pipelines.datasets.robot_state import RobotState, check_overlap
from pipelines.inputs import SourceClip

logger = logging.getLogger(__name__)


class RH20TOptions(ReaderOptions):
    """The three folders are relative to the raw root; the 320x180 release comes as three separate trees."""

    rgb: str = ""
    low_dim: str = ""
    calibration: str = ""
    min_rating: int = Field(2, ge=0, le=9)
    max_calib_quality: int = Field(5, ge=0, le=5)
    require_calibration: bool = False
    max_count_difference: int = Field(2, ge=0)


class RH20TReader(Reader[RH20TOptions]):
    """See the module's text for what is kept, `layout` for where things lie."""

    options_type: ClassVar[type[ReaderOptions]] = RH20TOptions

    def discover(self, raw_root: Path) -> Iterator[SourceClip]:
        @cache
        def instructions(parent: Path) -> dict[str, str]:
            return load_instructions([parent, parent.parent, raw_root, raw_root.parent])

        rgb_root = raw_root.joinpath(*PurePosixPath(self.options.rgb).parts)
        for scene in find_scenes(rgb_root):
            folder = rgb_root / scene.folder
            try:
                sentence = instructions(folder.parent).get(f"task_{scene.task:04d}", "")
                cameras = [n for n in subfolders(folder) if n.startswith("cam_")]
                serials = [camera.removeprefix("cam_") for camera in cameras]
                shared = self._scene_files(scene, raw_root)
                # A scene without cameras is reported as a missing video.
                clips = [self._clip(scene, serial, sentence, shared, raw_root) for serial in serials or [""]]
            except PermissionError as error:
                logger.warning("%s is left out: %s may not be looked at", folder, error.filename or folder)
                continue
            yield from clips

    def _scene_files(self, scene: Scene, raw_root: Path) -> dict[str, str]:
        """What the cameras of a scene share: paths below the raw root, which need not be there."""
        options, scene_folder = self.options, str(scene.folder)
        metadata = _below(options.rgb, scene_folder, "metadata.json")
        if not (raw_root / metadata).exists():
            metadata = _below(options.low_dim, scene_folder, "metadata.json")
        transformed = _below(options.low_dim, scene_folder, "transformed")
        files = {
            "metadata": metadata,
            "poses": f"{transformed}/tcp.npy",
            "gripper": f"{transformed}/gripper.npy",
        }
        # Only the one that they name: the folder of calibrations grows with every day of recording.
        calib = _named_calibration(raw_root, metadata, scene.human)
        if calib is not None:
            calibrations = _below(options.calibration, *scene.folder.parent.parts, "calib")
            files["intrinsics"] = f"{calibrations}/{calib}/intrinsics.npy"
        return files

    def _clip(
        self, scene: Scene, serial: str, instruction: str, shared: dict[str, str], raw_root: Path
    ) -> SourceClip:
        folder = _below(self.options.rgb, str(scene.folder))
        video_folder = f"{folder}/cam_{serial}"
        if (
            not (raw_root / video_folder / "color.mp4").exists()
            and (raw_root / video_folder / "color").is_dir()
        ):
            video_folder += "/color"
        files = {
            "video": f"{video_folder}/color.mp4",
            "timestamps": f"{video_folder}/timestamps.npy",
            **shared,
        }
        return SourceClip(
            dataset=self.dataset,
            source=folder,
            embodiment="human" if scene.human else "robot",
            camera=serial,
            pair_key=f"{scene.pair_name}/{serial}",
            hints={
                **files,
                "watch": list(files.values()),
                "task": f"task_{scene.task:04d}",
                "instruction": instruction,
                "license": scene.license,
                "in_hand": serial in IN_HAND.get(scene.cfg, ()),
            },
        )

    def read(self, clip: SourceClip, raw_root: Path) -> Demonstration:
        hints = clip.hints
        if hints["in_hand"]:
            raise Skip("in_hand_camera", f"camera {clip.camera} is mounted on the gripper")
        metadata = load_metadata(inside(raw_root, hints["metadata"]), clip.embodiment == "human")
        if metadata.rating is not None and metadata.rating < self.options.min_rating:
            raise Skip("low_rating", f"rated {metadata.rating}, wanted {self.options.min_rating} or more")

        index = index_clip(clip, raw_root)
        milliseconds = self._match(load_timestamps(inside(raw_root, hints["timestamps"])), len(index), clip)
        timestamps = (milliseconds - milliseconds[0]) / 1000
        K = self._intrinsics(clip, raw_root, metadata, index.width)
        robot = RobotState()
        if clip.embodiment == "robot":
            robot = self._robot_state(clip, raw_root, milliseconds, with_poses=K is not None)
            if self.options.require_calibration and not robot.effector_times.size:
                raise Skip("uncalibrated", f"calib {metadata.calib}, calib_quality {metadata.calib_quality}")
        return make_demonstration(
            clip,
            raw_root,
            index,
            timestamps,
            K=K,
            robot=robot,
            license_name=metadata.license or hints["license"],
        )

    def _match(self, milliseconds: np.ndarray, frames: int, clip: SourceClip) -> np.ndarray:
        """Times of the frames that have both; frame i belongs to time i."""
        if abs(len(milliseconds) - frames) > self.options.max_count_difference:
            raise BadInput(
                "timestamp_count_mismatch",
                f"{clip.source}/cam_{clip.camera} has {frames} frames and {len(milliseconds)} timestamps.",
            )
        return milliseconds[:frames]

    def _intrinsics(
        self, clip: SourceClip, raw_root: Path, metadata: Metadata, width: int
    ) -> np.ndarray | None:
        """K of a clip whose calibration can be trusted; a human clip's K is not for projecting poses."""
        trusted = 0 <= metadata.calib_quality <= self.options.max_calib_quality
        if "intrinsics" not in clip.hints or (clip.embodiment == "robot" and not trusted):
            return None
        return load_intrinsics(inside(raw_root, clip.hints["intrinsics"]), clip.camera, width)

    def _robot_state(
        self, clip: SourceClip, raw_root: Path, milliseconds: np.ndarray, with_poses: bool
    ) -> RobotState:
        start_ms = int(milliseconds[0])
        gripper = load_gripper(inside(raw_root, clip.hints["gripper"]), clip.camera, start_ms)
        poses = None
        if with_poses:
            poses = load_poses(inside(raw_root, clip.hints["poses"]), clip.camera, start_ms)
        if poses is None:
            return RobotState(gripper_times=gripper[0], gripper_widths=gripper[1])
        check_overlap(poses[0], (int(milliseconds[-1]) - start_ms) / 1000, clip.source)
        return RobotState(*poses, *gripper)


def _below(folder: str, *parts: str) -> str:
    """A path below one of the three folders that the options name."""
    return "/".join([*filter(None, [folder.strip("/")]), *parts])


def _named_calibration(raw_root: Path, metadata: str, human: bool) -> int | None:
    """Name of a scene's calibration; None where it has none, or where its metadata cannot be read, as `read` will say."""
    try:
        calib = load_metadata(inside(raw_root, metadata), human).calib
    except BadInput:
        return None
    return None if calib < 0 else calib
