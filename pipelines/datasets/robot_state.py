"""Calibration and end-effector poses as data sets give them: checked before anything is computed from them."""

from dataclasses import dataclass, field

import numpy as np

from data_schemas.errors import BadInput


@dataclass(frozen=True)
class RobotState:
    """End-effector poses (camera frame, as in `Demonstration`) and gripper widths, or nothing of it."""

    effector_times: np.ndarray = field(default_factory=lambda: np.empty(0))
    effector_poses: np.ndarray = field(default_factory=lambda: np.empty((0, 7)))
    gripper_times: np.ndarray = field(default_factory=lambda: np.empty(0))
    gripper_widths: np.ndarray = field(default_factory=lambda: np.empty(0))


def check_intrinsics(K: np.ndarray, name: str) -> np.ndarray:
    """(3, 3) float64 of a (3, 3) or (3, 4) matrix; raises `bad_calibration_shape`, `bad_calibration`."""
    try:
        K = np.asarray(K, np.float64)
    except (TypeError, ValueError, OverflowError):
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


def check_overlap(times: np.ndarray, duration: float, name: str) -> None:
    """Refuse poses on another clock than the video's.

    Args:
        times: (M,) seconds from the first frame, sorted, M >= 1.
        duration: seconds from the first frame to the last.

    Raises:
        BadInput: `poses_outside_clip`, none of them is near a frame.
    """
    if times[-1] < 0 or times[0] > duration:
        raise BadInput(
            "poses_outside_clip",
            f"{name}: poses from {times[0]:.3f} s to {times[-1]:.3f} s, clip from 0 s to {duration:.3f} s.",
        )
