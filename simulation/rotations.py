"""Rotations: matrices (3, 3) and unit quaternions (w, x, y, z), right-handed, radians."""

import mujoco
import numpy as np


def unit(v: np.ndarray) -> np.ndarray:
    """`v` divided by its length."""
    return v / np.linalg.norm(v)


def about(axis: np.ndarray | tuple[float, float, float], angle: float) -> np.ndarray:
    """Rotation matrix by `angle` about `axis` (Rodrigues)."""
    x, y, z = unit(np.asarray(axis, float))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def turn(vector: np.ndarray) -> np.ndarray:
    """Rotation matrix of a rotation vector (3,): axis times angle."""
    angle = float(np.linalg.norm(vector))
    return about(vector, angle) if angle > 1e-12 else np.eye(3)


def rotation_vector(R: np.ndarray) -> np.ndarray:
    """Rotation vector (3,) of a rotation matrix, of length at most pi."""
    vector = np.zeros(3)
    mujoco.mju_quat2Vel(vector, quaternion(R), 1.0)
    return vector


def about_x(angle: float) -> np.ndarray:
    """Rotation about x."""
    return about((1, 0, 0), angle)


def about_y(angle: float) -> np.ndarray:
    """Rotation about y."""
    return about((0, 1, 0), angle)


def about_z(angle: float) -> np.ndarray:
    """Rotation about z."""
    return about((0, 0, 1), angle)


def align(source: np.ndarray, target: np.ndarray, limit: float) -> np.ndarray:
    """The smallest rotation that turns `source` towards `target`, by at most `limit` radians."""
    axis = np.cross(source, target)
    length = np.linalg.norm(axis)
    if length < 1e-6:
        return np.eye(3)
    return about(axis, min(float(np.arctan2(length, source @ target)), limit))


def quaternion(R: np.ndarray) -> np.ndarray:
    """Quaternion wxyz of a rotation matrix."""
    q = np.zeros(4)
    mujoco.mju_mat2Quat(q, np.ascontiguousarray(R, dtype=float).ravel())
    return q


def matrix(q: np.ndarray) -> np.ndarray:
    """Rotation matrix of a quaternion wxyz."""
    R = np.zeros(9)
    mujoco.mju_quat2Mat(R, np.asarray(q, float))
    return R.reshape(3, 3)


def slerp(q0: np.ndarray, q1: np.ndarray, fraction: float) -> np.ndarray:
    """Rotation matrix at `fraction` of the shortest way from `q0` to `q1` (wxyz)."""
    turn = np.zeros(3)
    mujoco.mju_subQuat(turn, q1, q0)
    q = q0.copy()
    mujoco.mju_quatIntegrate(q, turn, fraction)
    return matrix(q)
