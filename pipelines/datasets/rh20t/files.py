"""The small files beside a clip: metadata, times, poses, gripper, intrinsics. Units are RH20T's until returned.

RH20T's clock is milliseconds since 1970. What is returned is seconds from the first frame of the clip.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_schemas.errors import BadInput
from pipelines.datasets.robot_state import check_intrinsics, check_poses
from pipelines.datasets.safe_npy import load_npy

INTRINSICS_WIDTH = 1280
"""Pixels: the intrinsics hold for 1280x720, whatever the size of the published video."""


@dataclass(frozen=True)
class Metadata:
    """What `metadata.json` says; None where it does not say it."""

    calib: int
    """Name of the calibration folder, or -1."""
    calib_quality: int
    """0: some cameras uncalibrated; 1 to 5: the lower the better; -1: seen to be wrong, or never rated."""
    rating: int | None
    """0 robot failed, 1 task failed, 2 to 9 the higher the better; human scenes have none."""
    license: str | None


def load_metadata(path: Path, human: bool) -> Metadata:
    """Read `metadata.json`. A human scene without one is taken as not calibrated.

    Raises:
        BadInput: `missing_metadata` (robot), `bad_metadata`.
    """
    if not path.is_file():
        if human:
            return Metadata(-1, -1, None, None)
        raise BadInput("missing_metadata", f"{path.parent.name} has no metadata.json.")
    try:
        values = json.loads(path.read_text("utf-8"))
        rating = None if human else int(values["rating"])
        license_name = values.get("license")
        return Metadata(
            calib=int(values.get("calib", -1)),
            calib_quality=int(values.get("calib_quality", -1)),
            rating=rating,
            license=None if license_name is None else str(license_name),
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise BadInput(
            "bad_metadata", f"{path.parent.name}/metadata.json: {type(error).__name__} {error}."
        ) from error


def load_timestamps(path: Path) -> np.ndarray:
    """(T,) int64 milliseconds of the colour frames.

    Raises:
        BadInput: `missing_timestamps`, `bad_timestamps`, `timestamps_out_of_order`.
    """
    if not path.is_file():
        raise BadInput("missing_timestamps", f"{path.parent.name} has no timestamps.npy.")
    times = _entry(load_npy(path), "color", path)
    try:
        times = np.asarray(times, np.int64)
    except (TypeError, ValueError, OverflowError):
        times = np.empty((0, 0))
    if times.ndim != 1 or not times.size:
        raise BadInput("bad_timestamps", f"{_short(path)} holds no list of whole milliseconds under 'color'.")
    steps = np.diff(times)
    if np.any(steps <= 0):
        i = int(np.argmax(steps <= 0))
        raise BadInput(
            "timestamps_out_of_order",
            f"{_short(path)}: frame {i + 1} is at {times[i + 1]} ms, not after frame {i} at {times[i]} ms.",
        )
    return times


def load_poses(path: Path, serial: str, start_ms: int) -> tuple[np.ndarray, np.ndarray] | None:
    """End-effector poses in the frame of one camera; None where the file or the camera is absent.

    Returns:
        (M,) seconds from `start_ms`, sorted; (M, 7) xyz metres and quaternion wxyz.

    Raises:
        BadInput: `bad_pose_file`, `bad_pose_shape`, `nan_pose`, `bad_quaternion`.
    """
    if not path.is_file():
        return None
    entries = _dictionary(load_npy(path), path).get(serial, [])
    try:
        if not len(entries):
            return None
        times = np.array([entry["timestamp"] for entry in entries], np.int64)
        rows = [np.asarray(entry["tcp"], np.float64) for entry in entries]
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise BadInput("bad_pose_file", f"{_short(path)}: {type(error).__name__} {error}.") from error
    odd = next((row.shape for row in rows if row.shape != (7,)), None)
    if odd is not None:
        raise BadInput("bad_pose_shape", f"{_short(path)} holds a pose of shape {odd}, expected (7,).")
    return check_poses((times - start_ms) / 1000, np.stack(rows), _short(path))


def load_gripper(path: Path, serial: str, start_ms: int) -> tuple[np.ndarray, np.ndarray]:
    """Gripper opening as measured; readings of another camera's clock serve where this one has none.

    Returns:
        (G,) seconds from `start_ms`, sorted; (G,) metres. Both empty where the file is absent.

    Raises:
        BadInput: `bad_gripper_file`.
    """
    if not path.is_file():
        return np.empty(0), np.empty(0)
    by_serial = _dictionary(load_npy(path), path)
    try:
        own_first = [serial, *sorted(by_serial)]
        readings = next((by_serial[s] for s in own_first if len(by_serial.get(s, {}))), {})
        times = np.array(sorted(readings), np.int64)
        millimetres = np.array([readings[t]["gripper_info"][0] for t in sorted(readings)], np.float64)
    except (TypeError, KeyError, IndexError, ValueError, OverflowError) as error:
        raise BadInput("bad_gripper_file", f"{_short(path)}: {type(error).__name__} {error}.") from error
    if not np.isfinite(millimetres).all():
        raise BadInput("bad_gripper_file", f"{_short(path)} holds widths that are not finite.")
    return (times - start_ms) / 1000, millimetres / 1000


def load_intrinsics(path: Path, serial: str, width: int) -> np.ndarray | None:
    """(3, 3) intrinsics for a video of `width` pixels; None where the file or the camera is absent.

    Raises:
        BadInput: `bad_calibration`, `bad_calibration_shape`.
    """
    if not path.is_file():
        return None
    matrix = _dictionary(load_npy(path), path).get(serial)
    if matrix is None:
        return None
    K = check_intrinsics(matrix, _short(path))
    return np.diag([width / INTRINSICS_WIDTH, width / INTRINSICS_WIDTH, 1.0]) @ K


def _dictionary(value: Any, path: Path) -> dict:
    if not isinstance(value, dict):
        raise BadInput(
            "unreadable_array", f"{_short(path)} holds a {type(value).__name__}, expected a dictionary."
        )
    return value


def _entry(value: Any, key: str, path: Path) -> Any:
    dictionary = _dictionary(value, path)
    if key not in dictionary:
        raise BadInput("bad_timestamps", f"{_short(path)} has no entry '{key}'.")
    return dictionary[key]


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
