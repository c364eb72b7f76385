"""Inverse kinematics of an arm by damped least squares, with a pull of the null space towards a home posture.

A weld between the arm and a target is simpler but goes unstable in contact; joint servos that follow this solver
do not.
"""

import mujoco
import numpy as np

from simulation.rotations import quaternion

DAMPING = 2e-5
HOME_PULL = 0.02
STEP_LIMIT = 0.25  # radians an iteration
REACH_LIMIT = 0.06  # metres an iteration
POSITION_TOLERANCE, ROTATION_TOLERANCE = 5e-4, 3e-3


class ArmKinematics:
    """Solves for the joints that bring one body to a world pose, starting from the last solution."""

    def __init__(self, model: mujoco.MjModel, joints: list[str], body: int, home: np.ndarray) -> None:
        self._model, self._data = model, mujoco.MjData(model)
        self._body, self.home = body, home
        self._position = np.array([model.joint(j).qposadr[0] for j in joints])
        self._velocity = np.array([model.joint(j).dofadr[0] for j in joints])
        self._range = np.array([model.joint(j).range for j in joints])
        self.q = home.copy()
        self.error = 0.0

    def reset(self) -> None:
        """Forget the last solution."""
        self.q = self.home.copy()

    def solve(self, position: np.ndarray, R: np.ndarray, iterations: int = 12) -> np.ndarray:
        """Joint angles for a pose of the body; `error` holds the position error that is left, metres."""
        model, data = self._model, self._data
        jacobian = np.zeros((6, model.nv))
        target, error, turn = quaternion(R), np.zeros(6), np.zeros(3)
        q = self.q.copy()
        for _ in range(iterations):
            data.qpos[self._position] = q
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            error[:3] = position - data.xpos[self._body]
            mujoco.mju_subQuat(turn, target, data.xquat[self._body])
            error[3:] = data.xmat[self._body].reshape(3, 3) @ turn
            distance = np.abs(error[:3]).max()
            if distance < POSITION_TOLERANCE and np.abs(error[3:]).max() < ROTATION_TOLERANCE:
                break
            mujoco.mj_jacBody(model, data, jacobian[:3], jacobian[3:], self._body)
            J = jacobian[:, self._velocity]
            inverse = J.T @ np.linalg.inv(J @ J.T + DAMPING * np.eye(6))
            step = inverse @ (error * min(1.0, REACH_LIMIT / max(1e-9, distance)))
            step *= min(1.0, STEP_LIMIT / max(1e-9, np.abs(step).max()))
            null = np.eye(len(q)) - np.linalg.pinv(J) @ J
            q = np.clip(q + step + null @ (HOME_PULL * (self.home - q)), self._range[:, 0], self._range[:, 1])
        self.error = float(np.linalg.norm(error[:3]))
        self.q = q
        return q
