"""What a robot's model is made of, and the default robot: an xArm7 with its parallel gripper.

Its meshes and joints are read from the installed 2 MB gym-xarm distribution (Apache-2.0), which is not imported, so
that it does not drag in its own MuJoCo version; its materials, sites and the arm's collision shapes are dropped.
"""

from dataclasses import dataclass
from xml.etree import ElementTree

import mujoco
import numpy as np

from simulation.meshes import FACES, decimated, installed_folder
from simulation.rotations import about_x, about_z

GYM_XARM = ("gym-xarm", "0.1.1", "gym_xarm/tasks/assets")
POINTING_DOWN = about_x(np.pi)
ARM_DAMPING, ARM_ARMATURE = 5.0, 0.1
WHITE, SILVER, BLACK = (0.93, 0.93, 0.94, 1), (0.72, 0.72, 0.74, 1), (0.09, 0.09, 0.1, 1)
FINE = {"base_link": 2500, "link_base": 3000}  # faces of meshes with many small parts


@dataclass(frozen=True)
class RobotAssets:
    """An arm with its gripper.

    Attributes:
        spec: bodies and meshes, without actuators for the arm.
        flange: body that the inverse kinematics moves.
        arm_joints: in order from the base.
        home: joint posture that the null space is pulled to, radians.
        base: position of the arm's base in the world, metres.
        down: world rotation of the flange when the gripper points down and closes along x.
        tool: point between the finger tips in the flange frame, metres.
        fingers: servo joint -> positions at `apertures`; every servo follows the one aperture.
        apertures: openings in metres, increasing.
        reach: push stance -> distance from the tool point to the surface that pushes, metres.
        finger_gain: position gain of the finger servos, Nm/rad or N/m.
        closed_tip: how far the closed finger tips reach below the tool point, metres.
    """

    spec: mujoco.MjSpec
    flange: str
    arm_joints: tuple[str, ...]
    home: np.ndarray
    base: tuple[float, float, float]
    down: np.ndarray
    tool: np.ndarray
    fingers: dict[str, np.ndarray]
    apertures: np.ndarray
    reach: dict[str, float]
    finger_gain: float
    closed_tip: float


def look_only(geom) -> None:
    """Let a geom be seen and touch nothing."""
    geom.contype, geom.conaffinity = 0, 0


def touch(geom) -> None:
    """Let a geom touch objects and nothing else."""
    geom.contype, geom.conaffinity, geom.condim, geom.friction = 2, 0, 4, [1.5, 0.05, 0.001]


def damp(joint) -> None:
    """Give an arm joint the damping that the position servos need."""
    joint.damping, joint.armature, joint.frictionloss = ARM_DAMPING, ARM_ARMATURE, 0


def xarm7_gripper() -> RobotAssets:
    """xArm7 with its parallel gripper."""
    folder = installed_folder(*GYM_XARM)
    body = ElementTree.parse(folder / "xarm.xml").getroot().find("body[@name='link0']")
    assert body is not None
    for parent in list(body.iter()):
        for child in list(parent):
            if child.tag == "site" or child.get("name") in ("right_hand", "left_hand"):
                parent.remove(child)
    meshes = sorted({g.get("mesh", "") for g in body.iter("geom")})
    body.set("pos", "0 0 0")
    for geom in body.iter("geom"):
        for key in ("material", "conaffinity", "contype", "friction", "solref", "solimp", "name"):
            geom.attrib.pop(key, None)
    assets = "".join(
        f'<mesh name="{m}" file="{decimated(folder / "mesh" / f"{m}.stl", FINE.get(m, FACES))}"/>'
        for m in meshes
    )
    xml = ElementTree.tostring(body, encoding="unicode")
    spec = mujoco.MjSpec.from_string(
        f'<mujoco><compiler angle="radian" autolimits="true"/><asset><material name="shell" specular=".4"'
        f' shininess=".3"/>{assets}</asset><worldbody>{xml}</worldbody></mujoco>'
    )
    arm = tuple(f"joint{i}" for i in range(1, 8))
    for joint in spec.joints:
        if joint.name in arm:
            damp(joint)
        else:
            joint.damping, joint.armature = 0.2, 0.002
    for b in spec.bodies:
        b.gravcomp = 1
    for geom in spec.geoms:
        black = "finger" in geom.meshname or "knuckle" in geom.meshname
        geom.rgba = BLACK if black else SILVER if geom.meshname in ("link7", "base_link") else WHITE
        geom.material = "shell"
        touch(geom) if "finger" in geom.meshname else look_only(geom)
    drive = np.linspace(0.85, 0.0, 18)
    # The finger pads stand 26.8 mm from the middle at drive .85, where they meet.
    half = 0.035 + 0.035465 * np.cos(drive) - 0.042039 * np.sin(drive)
    servos = ("drive_joint", "left_finger_joint", "left_inner_knuckle_joint")
    servos += ("right_outer_knuckle_joint", "right_finger_joint", "right_inner_knuckle_joint")
    return RobotAssets(
        spec=spec,
        flange="link7",
        arm_joints=arm,
        home=np.array([0, -0.6, 0, 1.0, 0, 1.6, 0.0]),
        base=(-0.33, 0.0, 0.0),
        down=POINTING_DOWN @ about_z(np.pi / 2),
        tool=np.array([0, 0, 0.165]),
        fingers=dict.fromkeys(servos, drive),
        apertures=2 * (half - half[0]),
        reach={"push_away": 0.016, "push_right": 0.016, "push_left": 0.016},
        finger_gain=40.0,
        closed_tip=0.0095,
    )
