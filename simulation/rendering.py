"""Render a recorded moment: colour and metric depth from one pass.

Reading both buffers of one pass halves the cost of the visibility ground truth. The pinhole model follows OpenCV:
camera frame x right, y down, z forward, pixel (0, 0) is the centre of the top-left pixel.
"""

import mujoco
import numpy as np

from data_schemas.errors import UserError
from simulation.embodiment import Embodiment
from simulation.gl import require_headless
from simulation.rollout import Moment
from simulation.scene import CAMERA, FIELD_OF_VIEW

GL_TO_CV = np.diag([1.0, -1.0, -1.0])
MIN_SIZE, MAX_SIZE = 32, 1024


def check_size(size: int) -> None:
    """Raise `UserError` where videos of `size` pixels cannot be made; their codec halves colours, hence even."""
    if not MIN_SIZE <= size <= MAX_SIZE or size % 2:
        raise UserError(
            f"Video size {size}: expected an even number of pixels from {MIN_SIZE} to {MAX_SIZE}."
        )


def intrinsics(size: int) -> np.ndarray:
    """K (3, 3) of a square image of `size` pixels."""
    focal = 0.5 * size / np.tan(np.deg2rad(FIELD_OF_VIEW) / 2)
    centre = (size - 1) / 2
    return np.array([[focal, 0, centre], [0, focal, centre], [0, 0, 1]])


def project(K: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Pixels (..., 2) of points (..., 3) in the camera frame; u = fx X / Z + cx."""
    uv = points @ K.T
    return uv[..., :2] / uv[..., 2:]


class Renderer:
    """Off-screen renderer of one embodiment's model."""

    def __init__(self, model: mujoco.MjModel, size: int) -> None:
        require_headless()
        self._model, self._size = model, size
        # Clearing and resolving a larger multisampled buffer would cost more than drawing.
        model.vis.global_.offwidth = model.vis.global_.offheight = size
        self._context = mujoco.gl_context.GLContext(size, size)
        self._context.make_current()
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._rect = mujoco.MjrRect(0, 0, size, size)
        self._gl = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._gl)
        self._gl.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR

    def render(self, data: mujoco.MjData, camera: str = CAMERA) -> tuple[np.ndarray, np.ndarray]:
        """Colour (S, S, 3) uint8 and depth along the camera's z axis (S, S) metres."""
        self._context.make_current()
        self._camera.fixedcamid = self._model.camera(camera).id
        mujoco.mjv_updateScene(
            self._model, data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL.value, self._scene
        )
        colour = np.empty((self._size, self._size, 3), np.uint8)
        buffer = np.empty((self._size, self._size), np.float32)
        mujoco.mjr_render(self._rect, self._scene, self._gl)
        mujoco.mjr_readPixels(colour, buffer, self._rect, self._gl)
        extent = self._model.stat.extent
        near, far = self._model.vis.map.znear * extent, self._model.vis.map.zfar * extent
        # The depth map is reversed: 1 at the near plane, 0 at the far plane.
        depth = near * far / (near + buffer.astype(np.float64) * (far - near))
        return np.ascontiguousarray(colour[::-1]), depth[::-1]

    def close(self) -> None:
        """Free the OpenGL context."""
        self._gl.free()
        self._context.free()


def restore(body: Embodiment, moment: Moment) -> None:
    """Bring the embodiment's data back to a recorded moment, ready to be looked at."""
    data = body.data
    data.qpos[:], data.mocap_pos[:], data.mocap_quat[:] = moment.qpos, moment.mocap_pos, moment.mocap_quat
    mujoco.mj_kinematics(body.model, data)
    mujoco.mj_comPos(body.model, data)
    mujoco.mj_camlight(body.model, data)


def camera_pose(body: Embodiment) -> np.ndarray:
    """T_camera_world (4, 4): takes world points into the camera frame."""
    camera = body.model.camera(CAMERA).id
    R = (body.data.cam_xmat[camera].reshape(3, 3) @ GL_TO_CV).T
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, -R @ body.data.cam_xpos[camera]
    return T
