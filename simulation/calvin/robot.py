"""The Panda arm: relative actions on a target pose, inverse kinematics, position motors.

An **action** is (7,): displacement of the target's position (1 = 0.02 m, world), of its Euler angles xyz (1 = 0.05 rad,
added angle by angle) and the gripper, open (+1) or closed (-1). Displacements add to the *target*, never to the measured
pose, so that the lag of the motors does not accumulate. They are not clipped, as in `calvin_env`.
"""

import numpy as np
from pybullet_utils.bullet_client import BulletClient

from simulation.calvin.data import RobotSettings, SceneSettings

POSITION_SCALE, ROTATION_SCALE = 0.02, 0.05  # metres, radians of the target at an action of 1
NULL_SPACE = 7.0  # radians; limits and ranges that leave the null space free
ROBOT_STATE = (
    *("tcp_x", "tcp_y", "tcp_z", "tcp_euler_x", "tcp_euler_y", "tcp_euler_z", "gripper_opening"),
    *(f"joint_{i}" for i in range(7)),
    "gripper_action",
)


class Robot:
    """One arm, fixed at the scene's base.

    Args:
        client: the physics; the robot has to be the first body in it.
        file: path of the URDF.
        settings, scene: numbers of the arm, and where it stands.
    """

    def __init__(
        self, client: BulletClient, file: str, settings: RobotSettings, scene: SceneSettings
    ) -> None:
        self._client, self._settings = client, settings
        base, turn = scene.robot_base_position, scene.robot_base_orientation
        self._home = scene.robot_initial_joint_positions
        self.body: int = client.loadURDF(file, base, client.getQuaternionFromEuler(turn), useFixedBase=True)
        self._add_pedestal(base, turn[2])
        left, right = settings.gripper_joint_ids
        gear = client.createConstraint(
            self.body, left, self.body, right, client.JOINT_GEAR, [1, 0, 0], [0, 0, 0], [0, 0, 0]
        )
        client.changeConstraint(gear, gearRatio=-1, erp=0.1, maxForce=50)  # keeps the fingers centred
        freedom = client.computeDofCount(self.body)
        self._null_space = (
            [-NULL_SPACE] * freedom,
            [NULL_SPACE] * freedom,
            [NULL_SPACE] * freedom,
            [*self._home, *[settings.gripper_joint_limits[1]] * 2],
        )
        self._gripper_action = 1
        self.target_position, self.target_euler = np.zeros(3), np.zeros(3)
        self.reset()

    def reset(self, state: np.ndarray | None = None) -> None:
        """Put the arm at once where a state (15,) says, or at the scene's start.

        The state's gripper action is taken over; `calvin_env` keeps that of the episode before, which makes an
        episode depend on its predecessor.
        """
        joints, finger = self._home, self._settings.gripper_joint_limits[1]
        self._gripper_action = 1
        if state is not None:
            joints, finger = state[7:14], state[6] / 2
            self._gripper_action = 1 if state[14] > 0 else -1
        settings = self._settings
        for joint, angle in zip(settings.arm_joint_ids, joints, strict=True):
            self._client.resetJointState(self.body, joint, angle)
            self._drive(joint, angle, settings.max_joint_force, settings.max_velocity)
        for joint in settings.gripper_joint_ids:
            self._client.resetJointState(self.body, joint, finger)
            self._drive(joint, finger, settings.gripper_force, 1)
        position, quaternion = self.tool()
        self.target_position = np.array(position)
        self.target_euler = np.array(self._client.getEulerFromQuaternion(quaternion))

    def act(self, action: np.ndarray) -> None:
        """Set the motors for one relative action (7,)."""
        self.target_position = self.target_position + POSITION_SCALE * action[:3]
        self.target_euler = self.target_euler + ROTATION_SCALE * action[3:6]
        # Zero counts as open, as in the authors' evaluation.
        self._gripper_action = -1 if action[6] < 0 else 1
        settings = self._settings
        angles = self._client.calculateInverseKinematics(
            self.body,
            settings.tcp_link_id,
            self.target_position,
            self._client.getQuaternionFromEuler(self.target_euler),
            *self._null_space,
        )
        arm = len(settings.arm_joint_ids)
        angles = np.clip(angles[:arm], settings.lower_joint_limits, settings.upper_joint_limits)
        for joint, angle in zip(settings.arm_joint_ids, angles, strict=True):
            self._drive(joint, angle, settings.max_joint_force, settings.max_velocity)
        opens = self._gripper_action == 1
        finger = settings.gripper_joint_limits[1 if opens else 0]
        force = settings.gripper_force / 100 if opens else settings.gripper_force
        for joint in settings.gripper_joint_ids:
            self._drive(joint, finger, force, 1)

    def tool(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Position (metres, world) and quaternion xyzw of the tool point."""
        return self._client.getLinkState(self.body, self._settings.tcp_link_id)[:2]

    def observe(self) -> np.ndarray:
        """Measured state (15,), see `ROBOT_STATE`: metres, radians, gripper action ±1."""
        position, quaternion = self.tool()
        joints = [*self._settings.gripper_joint_ids, *self._settings.arm_joint_ids]
        left, right, *arm = (state[0] for state in self._client.getJointStates(self.body, joints))
        euler = self._client.getEulerFromQuaternion(quaternion)
        return np.array([*position, *euler, left + right, *arm, self._gripper_action])

    def _drive(self, joint: int, angle: float, force: float, velocity: float) -> None:
        self._client.setJointMotorControl2(
            self.body,
            joint,
            self._client.POSITION_CONTROL,
            targetPosition=angle,
            force=force,
            maxVelocity=velocity,
        )

    def _add_pedestal(self, base: tuple[float, ...], yaw: float) -> None:
        """A cylinder under the base that is only seen."""
        middle = [base[0] - 0.05 * np.cos(yaw), base[1] - 0.05 * np.sin(yaw), base[2] / 2]
        shape = self._client.createVisualShape(
            self._client.GEOM_CYLINDER,
            radius=0.13,
            length=base[2],
            rgbaColor=[1, 1, 1, 1],
            visualFramePosition=middle,
        )
        self._client.createMultiBody(baseVisualShapeIndex=shape)
