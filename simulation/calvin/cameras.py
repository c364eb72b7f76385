"""The two cameras: one in front of the table, one at the hand.

Convention: pixel (u, v) with u to the right and v down, the corner of the picture at (0, 0), so the middle of the first
pixel is (0.5, 0.5); camera axes x right, y down, z forward; poses take world points to camera points. PyBullet's CPU
renderer samples its pixels at their lower left corners, so it draws everything half a pixel to the right and half a
pixel up; the principal point of its views says so, and a projected point lies where it is seen.
"""

from dataclasses import dataclass

import numpy as np
import pybullet
from pybullet_utils.bullet_client import BulletClient

from simulation.calvin.data import GripperCameraSettings, StaticCameraSettings

CAMERA_LINK = "gripper_cam"
TINY_RENDERER_SHIFT = 0.5  # pixels, to the right and up
OPENGL_TO_CAMERA = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenGL looks along -z with y up
# Near plane of the static camera in OpenGL, as a share of the way to the table. Mesa keeps depth in 16 bits, in which
# CALVIN's near plane of 1 cm leaves steps of 2 cm at the table: blocks lose their edges to what lies behind them.
NEAR_SHARE = 0.5


@dataclass(frozen=True)
class View:
    """A camera at one moment.

    K: (3, 3) intrinsics in pixels; T_camera_world: (4, 4), metres; width, height: pixels.
    """

    K: np.ndarray
    T_camera_world: np.ndarray
    width: int
    height: int

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) of world points (N, 3), metres."""
        camera = points @ self.T_camera_world[:3, :3].T + self.T_camera_world[:3, 3]
        pixels = camera @ self.K.T
        return pixels[:, :2] / pixels[:, 2:]


class Camera:
    """Renders one of the two cameras.

    Args:
        client: the physics.
        settings: of the static camera, or of the gripper's, which moves with `robot`.
        renderer: PyBullet's `ER_TINY_RENDERER`, or `ER_BULLET_HARDWARE_OPENGL` where its EGL plug-in is loaded.
    """

    def __init__(
        self,
        client: BulletClient,
        settings: StaticCameraSettings | GripperCameraSettings,
        robot: int,
        renderer: int,
    ) -> None:
        self._client, self._settings, self._robot, self.renderer = client, settings, robot, renderer
        near = settings.nearval
        if renderer == pybullet.ER_BULLET_HARDWARE_OPENGL and isinstance(settings, StaticCameraSettings):
            near = NEAR_SHARE * float(np.linalg.norm(np.subtract(settings.look_from, settings.look_at)))
        self._projection = client.computeProjectionMatrixFOV(
            settings.fov, settings.aspect, near, settings.farval
        )
        self._link = next(
            (
                i
                for i in range(client.getNumJoints(robot))
                if client.getJointInfo(robot, i)[12].decode() == CAMERA_LINK
            ),
            -1,
        )

    def render(self) -> np.ndarray:
        """Picture (H, W, 3) uint8 RGB of the present moment."""
        width, height = self._settings.width, self._settings.height
        rgba = self._client.getCameraImage(
            width, height, self._view_matrix(), self._projection, renderer=self.renderer
        )[2]
        return np.asarray(rgba, dtype=np.uint8).reshape(height, width, 4)[:, :, :3].copy()

    def view(self) -> View:
        """Intrinsics and pose of the present moment."""
        settings = self._settings
        f = settings.height / (2 * np.tan(np.radians(settings.fov) / 2))
        shift = TINY_RENDERER_SHIFT * (self.renderer == pybullet.ER_TINY_RENDERER)
        u, v = settings.width / 2 + shift, settings.height / 2 - shift
        K = np.array([[f / settings.aspect, 0, u], [0, f, v], [0, 0, 1]])
        matrix = np.array(self._view_matrix()).reshape(4, 4).T
        return View(K, OPENGL_TO_CAMERA @ matrix, settings.width, settings.height)

    def _view_matrix(self) -> tuple[float, ...]:
        settings = self._settings
        if isinstance(settings, StaticCameraSettings):
            return self._client.computeViewMatrix(settings.look_from, settings.look_at, settings.up_vector)
        position, quaternion = self._client.getLinkState(self._robot, self._link)[:2]
        R = np.array(self._client.getMatrixFromQuaternion(quaternion)).reshape(3, 3)
        return self._client.computeViewMatrix(position, position + R[:, 1], -R[:, 2])
