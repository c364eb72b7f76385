"""The robot demonstrator: joint servos that follow inverse kinematics, and a gripper."""

from functools import cache

import mujoco
import numpy as np

from data_schemas.errors import UserError
from simulation.embodiment import Embodiment, add_grasps, add_pad
from simulation.kinematics import ArmKinematics
from simulation.robosuite_assets import panda, xarm7_inspire
from simulation.robot_assets import RobotAssets, xarm7_gripper
from simulation.scene import build_scene

ROBOTS = {"xarm7_gripper": xarm7_gripper, "xarm7_inspire": xarm7_inspire, "panda": panda}
PREFIX = "robot_"
ARM_KP, ARM_KV = 3000.0, 200.0
SOLVE_EVERY = 4  # commands per solution of the inverse kinematics
SETTLE_STEPS = 150
PUSH_HEIGHT = 0.022


def build_robot(assets: RobotAssets) -> mujoco.MjModel:
    """Compile the scene with an arm on a pedestal."""
    spec = build_scene()
    frame = spec.worldbody.add_frame(pos=assets.base)
    spec.attach(assets.spec, prefix=PREFIX, frame=frame)
    pedestal = spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=[0.09, 0.35, 0],
        pos=np.array(assets.base) - [0, 0, 0.372],
        rgba=[0.4, 0.4, 0.42, 1],
    )
    pedestal.contype, pedestal.conaffinity = 0, 0
    for joint in assets.arm_joints:
        servo = spec.add_actuator(name=joint, target=PREFIX + joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        servo.set_to_position(kp=ARM_KP, kv=ARM_KV)
    for joint in assets.fingers:
        servo = spec.add_actuator(name=joint, target=PREFIX + joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        servo.set_to_position(kp=assets.finger_gain, kv=assets.finger_gain / 20)
    for stance, reach in assets.reach.items():
        add_pad(spec.body(PREFIX + assets.flange), stance, assets.down, assets.tool, reach)
    add_grasps(spec, PREFIX + assets.flange)
    return spec.compile()


class Robot(Embodiment):
    """An arm with a gripper whose fingers close along world x when it points down."""

    kind = "robot"

    def __init__(self, name: str) -> None:
        if name not in ROBOTS:
            raise UserError(f"Unknown robot {name!r}: choose one of {', '.join(ROBOTS)}.")
        self.assets = assets = ROBOTS[name]()
        model = build_robot(assets)
        super().__init__(name, model, PREFIX + assets.flange)
        joints = [PREFIX + j for j in assets.arm_joints]
        self._kinematics = ArmKinematics(model, joints, self.root, assets.home)
        self._position = np.array([model.joint(j).qposadr[0] for j in joints])
        self._velocity = np.array([model.joint(j).dofadr[0] for j in joints])
        self._finger_position = np.array([model.joint(PREFIX + j).qposadr[0] for j in assets.fingers])
        self._arm = np.array([model.actuator(j).id for j in assets.arm_joints])
        self._hand = np.array([model.actuator(j).id for j in assets.fingers])
        self._commands = 0

    def rotation(self, stance: str) -> np.ndarray:
        return self.assets.down

    def tool(self, posture: str) -> np.ndarray:
        return self.assets.tool

    def fingers(self, posture: str, aperture: float) -> np.ndarray:
        opening = aperture if posture == "pinch" else 0.0
        return np.array([np.interp(opening, self.assets.apertures, q) for q in self.assets.fingers.values()])

    def push_contact(self, stance: str) -> tuple[float, float]:
        return self.assets.reach[stance], PUSH_HEIGHT

    def tip_below(self, posture: str) -> float:
        return self.assets.closed_tip

    def command(self, position: np.ndarray, R: np.ndarray, fingers: np.ndarray) -> None:
        if self._commands % SOLVE_EVERY == 0:
            self.data.ctrl[self._arm] = self._kinematics.solve(position, R)
        self._commands += 1
        self.data.ctrl[self._hand] = fingers

    def place(self, position: np.ndarray, R: np.ndarray, fingers: np.ndarray) -> None:
        self._commands = 0
        self._kinematics.reset()
        self.data.qpos[self._position] = self._kinematics.solve(position, R, iterations=200)
        self.data.qpos[self._finger_position] = fingers
        mujoco.mj_forward(self.model, self.data)
        for _ in range(SETTLE_STEPS):
            self.command(position, R, fingers)
            self.step()

    def tcp(self) -> np.ndarray:
        return self.data.xpos[self.root] + self.root_rotation() @ self.assets.tool

    def wrist(self) -> np.ndarray:
        return self.tcp()

    def aperture(self) -> float:
        # The first servo speaks for all, as the fingers are coupled.
        positions = next(iter(self.assets.fingers.values()))
        order = np.argsort(positions)
        return float(
            np.interp(
                self.data.qpos[self._finger_position[0]], positions[order], self.assets.apertures[order]
            )
        )

    def joints(self) -> np.ndarray:
        return np.concatenate([self.data.qpos[self._position], self.data.qvel[self._velocity]])


@cache
def robot(name: str) -> Robot:
    """The compiled robot; compiled once per process."""
    return Robot(name)
