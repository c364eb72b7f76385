"""The arms of the closed-loop environment: they hold, push and press by contact and friction alone.

Unlike `simulation.robot`, there is no weld and no unseen pad. One motor of limited torque closes the gripper; joint
equalities stand for its linkage, so that the pads stay parallel. Pads and palm collide as boxes, because two boxes
touch in up to eight points where a mesh touches in one, and a grasp in one point per side pivots. Elliptic friction
cones with a high `impratio` keep a grasp from creeping.
"""

from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np

from data_schemas.errors import UserError
from simulation.kinematics import ArmKinematics
from simulation.objects import FREE, PLATE_HALF, PLATE_RADIUS, STATIC
from simulation.robosuite_assets import GRIPPER as FINGERS
from simulation.robosuite_assets import panda
from simulation.robot_assets import RobotAssets, look_only, xarm7_gripper
from simulation.rotations import about_z, quaternion
from simulation.scene import TIMESTEP, build_scene


@dataclass(frozen=True)
class Box:
    """A collision box: body, centre and half extents in the body's frame, metres."""

    body: str
    centre: tuple[float, float, float]
    half: tuple[float, float, float]


@dataclass(frozen=True)
class ContactGripper:
    """What holding by contact needs to know of a robot.

    make: its assets; pads: collision boxes of the finger tips; palm: of what is behind them; bracket: between flange and
    wrist camera, only seen; arm_torque: largest, Nm, of each joint of the arm; gain, force, damping: of the one motor
    that closes the fingers and of their joints, in Nm and radians or in N and metres.
    """

    make: Callable[[], RobotAssets]
    pads: tuple[Box, ...]
    palm: Box
    bracket: Box
    arm_torque: tuple[float, ...]
    gain: float
    force: float
    damping: float


ROBOTS = {
    "xarm7_gripper": ContactGripper(
        make=xarm7_gripper,
        pads=(
            Box("left_finger", (0.0, -0.019, 0.040), (0.016, 0.007, 0.021)),
            Box("right_finger", (0.0, 0.019, 0.040), (0.016, 0.007, 0.021)),
        ),
        palm=Box("link7", (0.0, 0.0, 0.047), (0.0376, 0.0512, 0.056)),
        bracket=Box("link7", (-0.052, 0.0, 0.042), (0.024, 0.012, 0.003)),
        arm_torque=(50.0, 50.0, 30.0, 30.0, 30.0, 20.0, 20.0),
        gain=40.0,
        force=1.5,  # about 15 N between the pads
        damping=0.05,
    ),
    "panda": ContactGripper(
        make=panda,
        pads=(
            Box(f"{FINGERS}leftfinger", (0.0, 0.0072, 0.045), (0.0088, 0.0072, 0.009)),
            Box(f"{FINGERS}rightfinger", (0.0, -0.0072, 0.045), (0.0088, 0.0072, 0.009)),
        ),
        palm=Box("right_hand", (0.0, 0.0, 0.020), (0.0316, 0.102, 0.046)),
        bracket=Box("right_hand", (0.058, 0.0, 0.0), (0.027, 0.012, 0.003)),
        arm_torque=(87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0),
        gain=2000.0,
        force=40.0,  # 20 N between the pads; the real hand has 70
        damping=20.0,
    ),
}
PREFIX = "robot_"
WRIST_CAMERA = "wrist"
ARM_KP, ARM_KV = 3000.0, 120.0
PAD_FRICTION, OBJECT_FRICTION = (1.2, 0.05, 0.001), (0.6, 0.02, 0.001)
IMPRATIO = 30.0
GRIPPER, EVERYTHING = 2, 3  # collision bits, see simulation.objects
# In the world's axes when the gripper points down, from the tool point, metres: beside the closing plane, so that
# both finger tips are seen, below the palm's edge, and on the side that is uppermost when a cup is turned.
CAMERA_FROM_TOOL = np.array([0.0, 0.085, 0.11])
CAMERA_LOOKS_AT = np.array([0.0, 0.06, 0.0])
WRIST_FIELD_OF_VIEW = 75.0  # vertical, degrees
CAMERA_HALF = np.array([0.030, 0.010, 0.010])
HOUSING_COLOUR = [0.15, 0.15, 0.17, 1]
# Walls that only the wrist camera sees, when a cup is turned: position and half extents, metres.
FAR_WALLS = (
    ((0.5, 2.95, 0.0), (2.5, 0.02, 2.0)),
    ((0.5, -2.95, 0.0), (2.5, 0.02, 2.0)),
    ((3.0, 0.0, 0.0), (0.02, 3.0, 2.0)),
)


def _add_box(spec: mujoco.MjSpec, name: str, box: Box) -> None:
    geom = spec.body(PREFIX + box.body).add_geom(
        name=name, type=mujoco.mjtGeom.mjGEOM_BOX, pos=box.centre, size=box.half, mass=0.0, group=3
    )
    geom.contype, geom.conaffinity, geom.condim, geom.priority = GRIPPER, 0, 4, 1
    geom.friction, geom.solref = PAD_FRICTION, [0.01, 1]


def _add_camera(spec: mujoco.MjSpec, assets: RobotAssets, bracket: Box) -> None:
    flange, down = spec.body(PREFIX + assets.flange), assets.down
    back = CAMERA_FROM_TOOL - CAMERA_LOOKS_AT
    back = back / np.linalg.norm(back)
    right = np.array([-1.0, 0.0, 0.0])  # of the picture, when the gripper points down
    axes = down.T @ np.column_stack([right, np.cross(back, right), back])
    position = assets.tool + down.T @ CAMERA_FROM_TOOL
    flange.add_camera(name=WRIST_CAMERA, pos=position, quat=quaternion(axes), fovy=WRIST_FIELD_OF_VIEW)
    # The housing lies behind the lens, where the camera itself does not see it.
    behind = position + axes @ [0, 0, CAMERA_HALF[2] + 0.004]
    shapes = ((behind, CAMERA_HALF, quaternion(axes)), (bracket.centre, bracket.half, [1, 0, 0, 0]))
    for centre, half, turned in shapes:
        look_only(
            flange.add_geom(
                type=mujoco.mjtGeom.mjGEOM_BOX,
                pos=centre,
                size=half,
                quat=turned,
                rgba=HOUSING_COLOUR,
                mass=0.0,
            )
        )


def _make_plate_of_boxes(spec: mujoco.MjSpec) -> None:
    """Let two crossed squares stand for the plate's disc: a box trembles for ever on a cylinder's face."""
    plate = spec.body("plate")
    for geom in plate.geoms:
        look_only(geom)
    side = PLATE_RADIUS / np.sqrt(2)
    for angle in (0.0, np.pi / 4):
        square = plate.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=[0, 0, PLATE_HALF],
            size=[side, side, PLATE_HALF],
            quat=quaternion(about_z(angle)),
            group=3,
        )
        square.contype, square.conaffinity, square.condim = 1, EVERYTHING, 4


def build_arm(assets: RobotAssets, gripper: ContactGripper) -> mujoco.MjModel:
    """Compile the scene with an arm that touches everything with its fingers and palm."""
    spec = build_scene()
    spec.option.impratio = IMPRATIO
    spec.option.enableflags |= mujoco.mjtEnableBit.mjENBL_MULTICCD
    _make_plate_of_boxes(spec)
    for name in (*FREE, *STATIC):
        for geom in spec.body(name).geoms:
            if geom.contype:
                geom.friction = OBJECT_FRICTION
    table = spec.geom("table")
    table.friction, table.conaffinity = OBJECT_FRICTION, EVERYTHING
    spec.attach(assets.spec, prefix=PREFIX, frame=spec.worldbody.add_frame(pos=assets.base))
    pedestal = spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=[0.09, 0.35, 0],
        pos=np.array(assets.base) - [0, 0, 0.372],
        rgba=[0.4, 0.4, 0.42, 1],
    )
    look_only(pedestal)
    for position, half in FAR_WALLS:
        wall = spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX, pos=position, size=half, material="wall"
        )
        look_only(wall)
    for geom in spec.geoms:
        if geom.contype == GRIPPER:
            look_only(geom)
    for k, pad in enumerate(gripper.pads):
        _add_box(spec, f"pad_{k}", pad)
    _add_box(spec, "palm", gripper.palm)
    _add_camera(spec, assets, gripper.bracket)
    for joint, torque in zip(assets.arm_joints, gripper.arm_torque, strict=True):
        servo = spec.add_actuator(name=joint, target=PREFIX + joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        servo.set_to_position(kp=ARM_KP, kv=ARM_KV)
        servo.forcelimited, servo.forcerange = True, [-torque, torque]
    drive, *linkage = assets.fingers
    motor = spec.add_actuator(name=drive, target=PREFIX + drive, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    motor.set_to_position(kp=gripper.gain, kv=gripper.gain / 20)
    motor.forcelimited, motor.forcerange = True, [-gripper.force, gripper.force]
    for joint in assets.fingers:
        spec.joint(PREFIX + joint).damping = gripper.damping
    for joint in linkage:
        slope, offset = np.polyfit(assets.fingers[drive], assets.fingers[joint], 1)
        coupling = spec.add_equality(
            type=mujoco.mjtEq.mjEQ_JOINT, name1=PREFIX + joint, name2=PREFIX + drive, solref=[0.01, 1]
        )
        coupling.data = [offset, slope, *np.zeros(9)]
    return spec.compile()


class ContactArm:
    """A compiled arm with its state and its controller.

    Attributes: kind (`robot`), name, model, data. Poses are of the tool point, the point between the finger tips:
    position in the world, metres, and rotation of the flange in the world.
    """

    kind = "robot"

    def __init__(self, name: str = "xarm7_gripper") -> None:
        if name not in ROBOTS:
            raise UserError(f"No contact grasping for robot {name!r}: choose one of {', '.join(ROBOTS)}.")
        gripper = ROBOTS[name]
        self.name, self.assets = name, gripper.make()
        self.model = build_arm(self.assets, gripper)
        self.data = mujoco.MjData(self.model)
        model, assets = self.model, self.assets
        self._root = model.body(PREFIX + assets.flange).id
        joints = [PREFIX + j for j in assets.arm_joints]
        self._kinematics = ArmKinematics(model, joints, self._root, assets.home)
        self._arm_positions = np.array([model.joint(j).qposadr[0] for j in joints])
        self._finger_positions = np.array([model.joint(PREFIX + j).qposadr[0] for j in assets.fingers])
        self._arm = np.array([model.actuator(j).id for j in assets.arm_joints])
        self._grip = model.actuator(next(iter(assets.fingers))).id
        self._gripper_geoms = np.array([model.geom(f"pad_{k}").id for k in range(len(gripper.pads))])
        self._geom_body = model.geom_bodyid

    @property
    def max_opening(self) -> float:
        """Widest opening between the pads, metres."""
        return float(self.assets.apertures[-1])

    def _joint_goal(self, position: np.ndarray, R: np.ndarray, iterations: int = 12) -> np.ndarray:
        return self._kinematics.solve(position - R @ self.assets.tool, R, iterations)

    def _drive(self, opening: float) -> float:
        positions = next(iter(self.assets.fingers.values()))
        return float(np.interp(opening, self.assets.apertures, positions))

    def place(self, position: np.ndarray, R: np.ndarray, opening: float) -> None:
        """Put the arm at a pose, at rest; objects stay as `data` has them."""
        self._kinematics.reset()
        q = self._joint_goal(position, R, iterations=200)
        self.data.qpos[self._arm_positions] = q
        for address, positions in zip(self._finger_positions, self.assets.fingers.values(), strict=True):
            self.data.qpos[address] = np.interp(opening, self.assets.apertures, positions)
        self.data.ctrl[self._arm], self.data.ctrl[self._grip] = q, self._drive(opening)
        mujoco.mj_forward(self.model, self.data)

    def move(self, position: np.ndarray, R: np.ndarray, opening: float, seconds: float) -> None:
        """Drive the servos to a pose and an opening, along straight lines in joint space, for `seconds`."""
        start = np.append(self.data.ctrl[self._arm], self.data.ctrl[self._grip])
        goal = np.append(self._joint_goal(position, R), self._drive(opening))
        steps = round(seconds / TIMESTEP)
        for i in range(1, steps + 1):
            command = start + (goal - start) * (i / steps)
            self.data.ctrl[self._arm], self.data.ctrl[self._grip] = command[:-1], command[-1]
            mujoco.mj_step(self.model, self.data)

    def rotation(self) -> np.ndarray:
        """Measured rotation (3, 3) of the flange in the world."""
        return self.data.xmat[self._root].reshape(3, 3).copy()

    def tool(self) -> np.ndarray:
        """Measured tool point (3,) in the world, metres."""
        return self.data.xpos[self._root] + self.rotation() @ self.assets.tool

    def opening(self) -> float:
        """Measured opening between the pads, metres."""
        positions = next(iter(self.assets.fingers.values()))
        order = np.argsort(positions)
        return float(
            np.interp(
                self.data.qpos[self._finger_positions[0]], positions[order], self.assets.apertures[order]
            )
        )

    def pads_touching(self, body: str) -> int:
        """How many of the pads touch a body: 2 when it is held."""
        index = self.model.body(body).id
        pairs = self.data.contact.geom
        touched = set()
        for pad in self._gripper_geoms:
            other = np.concatenate([pairs[pairs[:, 0] == pad, 1], pairs[pairs[:, 1] == pad, 0]])
            if np.any(self._geom_body[other] == index):
                touched.add(int(pad))
        return len(touched)
