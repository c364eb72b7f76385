"""What is really so in a clip, kept in a side folder that no reader of the pipeline opens.

`ground_truth/<scene folder>.npz` holds a `GroundTruth`; `ground_truth/<scene folder>.correspondence.npz` holds
`human_index` (T_robot,), the human frame that truly belongs to each robot frame.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from simulation.embodiment import Embodiment
from simulation.objects import SurfacePoints
from simulation.rendering import project

OCCLUSION_TOLERANCE = 0.007  # metres; a finger on the object's surface is thicker than this
FACING = 0.10  # cosine below which a surface is seen too edge-on to count


@dataclass(frozen=True)
class GroundTruth:
    """The truth about one clip of T frames.

    Convention: camera frame x right, y down, z forward, metres; pixels (x, y) of the clip's frames, the centre of
    the top-left pixel is (0, 0); quaternions wxyz; N = 16 keypoints.

    Attributes:
        timestamps: (T,) seconds from the first frame.
        wrist_camera, wrist_pixels: (T, 3), (T, 2) wrist joint (human) or TCP (robot).
        tcp_camera, tcp_pixels: (T, 3), (T, 2) the point between thumb and index tip (human) or the TCP (robot).
        tcp_quaternion: (T, 4) root rotation in the camera frame.
        wrist_visible: (T,) the wrist point is inside the image and nothing stands well in front of it.
        keypoints: (T, N, 2) pixels of fixed points on the manipulated object's surface.
        keypoint_visible: (T, N) in the image, facing the camera and not occluded by the depth image.
        object_centre: (T, 2) pixels of the object's centre.
        object_box: (T, 4) x0 y0 x1 y1 of the object's whole outline, also where it is hidden.
        phase: (T,) index into `phase_names`; progress: (T,) 0 to 1 within the phase.
        K: (3, 3) of the clip's frames; T_camera_world: (4, 4).
    """

    timestamps: np.ndarray
    wrist_camera: np.ndarray
    wrist_pixels: np.ndarray
    wrist_visible: np.ndarray
    tcp_camera: np.ndarray
    tcp_pixels: np.ndarray
    tcp_quaternion: np.ndarray
    keypoints: np.ndarray
    keypoint_visible: np.ndarray
    object_centre: np.ndarray
    object_box: np.ndarray
    phase: np.ndarray
    progress: np.ndarray
    phase_names: tuple[str, ...]
    K: np.ndarray
    T_camera_world: np.ndarray
    size: int
    embodiment: str
    task: str
    object: str
    instruction: str
    layout: int

    def save(self, path: Path) -> None:
        """Write an npz."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> "GroundTruth":
        """Read what `save` wrote."""
        with np.load(path) as z:
            data = {f.name: z[f.name] for f in fields(cls)}
        for name in ("embodiment", "task", "object", "instruction"):
            data[name] = str(data[name])
        for name in ("size", "layout"):
            data[name] = int(data[name])
        data["phase_names"] = tuple(map(str, data["phase_names"]))
        return cls(**data)


def world_points(body: Embodiment, surface: SurfacePoints) -> tuple[np.ndarray, np.ndarray]:
    """Surface points and normals (N, 3) in the world at the present state."""
    ids = [body.model.body(name).id for name in surface.bodies]
    R = body.data.xmat[ids].reshape(-1, 3, 3)
    points = np.einsum("nij,nj->ni", R, surface.points) + body.data.xpos[ids]
    return points, np.einsum("nij,nj->ni", R, surface.normals)


def to_camera(T_camera_world: np.ndarray, points: np.ndarray) -> np.ndarray:
    """World points (N, 3) in the camera frame."""
    return points @ T_camera_world[:3, :3].T + T_camera_world[:3, 3]


def unoccluded(points: np.ndarray, K: np.ndarray, depth: np.ndarray, tolerance: float) -> np.ndarray:
    """Which camera-frame points (N, 3) are in the image and not more than `tolerance` behind the depth image."""
    size = depth.shape[0]
    pixels = np.round(project(K, points)).astype(int)
    inside = (points[:, 2] > 0) & np.all((pixels >= 0) & (pixels < size), axis=1)
    x, y = np.clip(pixels, 0, size - 1).T
    return inside & (points[:, 2] - depth[y, x] < tolerance)


def visible_keypoints(
    points: np.ndarray, normals: np.ndarray, T_camera_world: np.ndarray, K: np.ndarray, depth: np.ndarray
) -> np.ndarray:
    """Visibility (N,) of world surface points with outward normals, by facing and by the depth image (S, S) metres."""
    seen = to_camera(T_camera_world, points)
    outward = normals @ T_camera_world[:3, :3].T
    facing = -np.sum(outward * seen, axis=1) / np.linalg.norm(seen, axis=1) > FACING
    return facing & unoccluded(seen, K, depth, OCCLUSION_TOLERANCE)


def correspondence(robot: GroundTruth, human: GroundTruth) -> np.ndarray:
    """(T_robot,) the human frame whose phase and progress are nearest to each robot frame's; non-decreasing."""
    r, h = robot.phase + robot.progress, human.phase + human.progress
    right = np.clip(np.searchsorted(h, r), 1, len(h) - 1)
    return np.where(r - h[right - 1] < h[right] - r, right - 1, right)


def root_quaternion(body: Embodiment, T_camera_world: np.ndarray) -> np.ndarray:
    """Rotation of the embodiment's root in the camera frame, wxyz."""
    q = np.zeros(4)
    mujoco.mju_mat2Quat(q, (T_camera_world[:3, :3] @ body.root_rotation()).ravel())
    return q
