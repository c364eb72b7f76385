"""The optional robots: an xArm7 with the Inspire dexterous hand, and a Panda.

Both are read from an installed robosuite 1.5.2 (MIT), which is not imported. At 157 MB it is no default dependency.
Motors, cameras, sensors and the arms' collision shapes are dropped; two slips in its files are mended on reading.
"""

import re
from pathlib import Path

import mujoco
import numpy as np

from simulation.meshes import decimated, installed_folder
from simulation.robot_assets import POINTING_DOWN, RobotAssets, damp, look_only, touch
from simulation.rotations import about_z, unit

ROBOSUITE = ("robosuite", "1.5.2", "robosuite/models/assets")
GRIPPER = "gripper_"
VISIBLE, HIDDEN = 1, 3
INVISIBLE = [0.0, 0.0, 0.0, 0.0]


def _read(file: Path) -> mujoco.MjSpec:
    text = file.read_text()
    # `group` is no attribute of a default class, and an empty mesh folder confuses absolute paths.
    text = text.replace('<default class="xarm7_hand" group="1">', '<default class="xarm7_hand">')
    text = text.replace('meshdir="./"', "")

    def absolute(match: re.Match) -> str:
        path = file.parent / match.group(1)
        return f'file="{decimated(path) if path.suffix.lower() in (".stl", ".obj") else path}"'

    spec = mujoco.MjSpec.from_string(re.sub(r'file="([^"/][^"]*)"', absolute, text))
    for items in (spec.keys, spec.sensors, spec.actuators, spec.cameras, spec.lights):
        for item in list(items):
            spec.delete(item)
    for body in spec.bodies:
        body.gravcomp = 1
    for site in spec.sites:
        site.rgba = INVISIBLE
    return spec


def _join(arm_file: str, gripper_file: str, mount: np.ndarray) -> mujoco.MjSpec:
    """Arm and gripper as one specification; `mount` is the gripper's quaternion wxyz on the arm's last body."""
    folder = installed_folder(*ROBOSUITE)
    arm, gripper = _read(folder / "robots" / arm_file), _read(folder / "grippers" / gripper_file)
    for geom in arm.geoms:
        look_only(geom)
        geom.group = VISIBLE if geom.group in (1, 2) and "collision" not in geom.name else HIDDEN
    for joint in arm.joints:
        damp(joint)
    for geom in gripper.geoms:
        if geom.contype or geom.conaffinity:
            touch(geom)
        if geom.group == 0:
            geom.group = HIDDEN
    hand = arm.body("right_hand")
    arm.attach(gripper, prefix=GRIPPER, frame=hand.add_frame(quat=mount))
    return arm


def panda() -> RobotAssets:
    """Franka Panda with its parallel gripper."""
    apertures = np.linspace(0.0, 0.08, 9)
    return RobotAssets(
        spec=_join("panda/robot.xml", "panda_gripper.xml", np.array([1.0, 0, 0, 0])),
        flange="right_hand",
        arm_joints=tuple(f"joint{i}" for i in range(1, 8)),
        home=np.array([0, 0.2, 0, -2.2, 0, 2.4, -0.79]),
        base=(-0.40, 0.0, 0.0),
        down=POINTING_DOWN @ about_z(-np.pi / 2),
        tool=np.array([0, 0, 0.1034]),
        fingers={GRIPPER + "finger_joint1": apertures / 2, GRIPPER + "finger_joint2": -apertures / 2},
        apertures=apertures,
        reach={"push_away": 0.015, "push_right": 0.010, "push_left": 0.010},
        finger_gain=1000.0,
        closed_tip=0.003,
    )


def xarm7_inspire() -> RobotAssets:
    """xArm7 with the right Inspire hand, whose four fingers close against the thumb."""
    apertures = np.linspace(0.0, 0.15, 16)
    close = np.interp(apertures, [0.01, 0.053, 0.10, 0.15], [0.75, 0.5, 0.25, 0.0])
    bend = {
        "thumb_proximal_1": np.full_like(close, 1.2),
        "thumb_proximal_2": 0.45 * close,
        "thumb_middle": 0.5 * close,
        "thumb_distal": 0.5 * close,
        "index_proximal": 0.9 * close,
        "index_distal": 1.1 * close,
        "middle_proximal": 0.9 * close,
        "middle_distal": 1.1 * close,
        "ring_proximal": 1.0 * close,
        "ring_distal": 1.2 * close,
        "pinky_proximal": 1.05 * close,
        "pinky_distal": 1.2 * close,
    }
    forward, side = unit(np.array([0.57, 0, 0.82])), np.array([0, -1.0, 0])
    return RobotAssets(
        spec=_join("xarm7/robot.xml", "inspire_right_hand.xml", np.array([0, 1.0, 0, 0])),
        flange="right_hand",
        arm_joints=tuple(f"joint{i}" for i in range(1, 8)),
        home=np.array([0, -0.3, 0, 0.9, 0, 0.6, 3.14]),
        base=(-0.33, 0.0, 0.0),
        down=np.stack([forward, side, np.cross(forward, side)]),
        tool=np.array([-0.068, -0.028, 0.135]),
        fingers={f"{GRIPPER}joint_r_{name}": angles for name, angles in bend.items()},
        apertures=apertures,
        reach={"push_away": 0.022, "push_right": 0.006, "push_left": 0.066},
        finger_gain=6.0,
        closed_tip=-0.002,
    )
