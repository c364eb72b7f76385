"""The calibration file of the clips reader: what is known of the camera and the robot of each side.

JSON, or YAML for any other suffix than `.json`; every part is optional:

    {"human": {"K": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]},
     "robot": {"K": [[…]], "effector_times": [t, …], "effector_poses": [[x, y, z, qw, qx, qy, qz], …]}}

*Convention*: K in pixels of that side's video as it is; poses of the end effector in the camera frame (x right,
y down, z forward), metres, quaternion wxyz; times in seconds from the first frame of the video.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from data_schemas.errors import BadInput
from pipelines.datasets.robot_state import RobotState, check_intrinsics, check_poses


def load_calibration(path: Path, embodiment: str) -> Mapping[str, Any]:
    if not path.is_file():
        raise BadInput("missing_calibration", f"{path.name} is not there.")
    try:
        text = path.read_text("utf-8")
        values = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise BadInput("bad_calibration", f"{path.name} is neither JSON nor YAML.") from error
    side = values.get(embodiment) or {} if isinstance(values, dict) else None
    if not isinstance(side, dict):
        raise BadInput("bad_calibration", f"{path.name} has no entries 'human' and 'robot'.")
    unknown = set(side) - {"K", "effector_times", "effector_poses"}
    if unknown:
        raise BadInput(
            "bad_calibration", f"{path.name} has unknown entries {sorted(unknown)} for {embodiment}."
        )
    return side


def parse_calibration(side: Mapping[str, Any], name: str) -> tuple[np.ndarray | None, RobotState]:
    K = check_intrinsics(side["K"], name) if "K" in side else None
    if "effector_times" not in side and "effector_poses" not in side:
        return K, RobotState()
    try:
        times = np.asarray(side.get("effector_times", []), np.float64)
        poses = np.asarray(side.get("effector_poses", []), np.float64)
    except (TypeError, ValueError, OverflowError):
        raise BadInput("bad_pose_shape", f"{name}: effector poses are no table of numbers.") from None
    times, poses = check_poses(times, poses, name)
    return K, RobotState(times, poses)
