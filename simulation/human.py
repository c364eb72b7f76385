"""The human demonstrator: a skinned right hand and forearm with a sleeve.

The wrist is a free body pulled by a weld towards a target; sixteen servos drive the fingers, whose capsules touch
the objects. The forearm follows the wrist and points at an elbow that stays beside the demonstrator's body. What
the camera sees is only the skin and the sleeve.
"""

from functools import cache

import mujoco
import numpy as np

from simulation.embodiment import Embodiment, add_grasps, add_pad
from simulation.hand_postures import BLADE, PINCH_PITCH, POINT, PUSH, pinch, tool_points
from simulation.hand_shape import FINGERS, JOINTS, RADII, THUMB_TWIST_AXIS, HandShape, load_hands
from simulation.rotations import about_x, about_y, align, quaternion, unit
from simulation.scene import build_scene

ELBOW = np.array([-0.62, -0.10, 0.36])
WRIST_BEND = 1.1  # radians, the most that hand and forearm bend against each other
SLEEVE_START, SLEEVE_RADIUS = 0.13, 0.050  # metres; from the wrist
FLESH = 0.010  # metres by which two pads touch an object before the tips inside them are its width apart
PUSH_HEIGHT = 0.016
# Push stance -> posture, and distance from its tool point to the skin that pushes.
PUSHES = {"push_away": ("push", 0.010), "push_right": ("blade", 0.010), "push_left": ("blade", 0.014)}
SETTLE_STEPS = 60
STANCES = {
    "grasp": about_y(PINCH_PITCH),
    "push_away": about_y(0.50),
    "push_right": about_y(0.80) @ about_x(np.pi / 2),
    "push_left": about_y(0.80) @ about_x(np.pi / 2),
    "press": about_y(0.60),
}


def _capsule(body, start: np.ndarray, end: np.ndarray, radius: float) -> None:
    geom = body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CAPSULE, fromto=[*start, *end], size=[radius, 0, 0], mass=0.01, group=3
    )
    geom.contype, geom.conaffinity, geom.condim, geom.friction = 2, 0, 4, [1.5, 0.05, 0.001]


def _add_finger(spec: mujoco.MjSpec, wrist, hand: HandShape, finger: str) -> None:
    parent, origin, chain = wrist, np.zeros(3), hand.chains[finger]
    for k, bone in enumerate(FINGERS[finger]):
        parent = parent.add_body(name=bone, pos=chain[k] - origin, gravcomp=1)
        for name, owner, index in JOINTS:
            if (owner, index) != (finger, k):
                continue
            axis = THUMB_TWIST_AXIS if name == "thumb_twist" else hand.axes[finger][k]
            limits = [-0.9, 0.9] if name == "thumb_twist" else [-0.4, 1.7]
            parent.add_joint(
                name=name,
                type=mujoco.mjtJoint.mjJNT_HINGE,
                axis=axis,
                range=limits,
                damping=0.15,
                armature=1e-3,
            )
            servo = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
            servo.set_to_position(kp=15)
            servo.forcerange, servo.forcelimited = [-4, 4], True
        _capsule(parent, np.zeros(3), chain[k + 1] - chain[k], RADII[finger])
        origin = chain[k]
    parent.add_site(name=f"tip_{finger}", pos=chain[3] - chain[2], rgba=[0, 0, 0, 0])


def _add_skin(spec: mujoco.MjSpec, hand: HandShape) -> None:
    # Bones without a body of their own move with the forearm or with the wrist.
    bodies: dict[str, list[int]] = {}
    for column, bone in enumerate(hand.heads):
        body = (
            "forearm" if bone.startswith("lowerarm") else "wrist" if bone.startswith("metacarpal") else bone
        )
        bodies.setdefault(body, []).append(column)
    skin = spec.add_skin(name="skin", material="skin")
    skin.vert = hand.vertices.ravel().tolist()
    # Skin deep inside the sleeve would poke through it.
    inside = hand.vertices @ unit(hand.elbow) > SLEEVE_START + 0.012
    skin.face = hand.faces[~inside[hand.faces].all(1)].ravel().tolist()
    names, positions, ids, weights = [], [], [], []
    for body, columns in bodies.items():
        weight = hand.weights[:, columns].sum(1)
        vertices = np.flatnonzero(weight > 1e-4)
        names.append(body)
        positions.extend(np.zeros(3) if body in ("forearm", "wrist") else hand.heads[body])
        ids.append(vertices.tolist())
        weights.append(weight[vertices].tolist())
    skin.bodyname = names
    skin.bindpos = positions
    skin.bindquat = [1.0, 0.0, 0.0, 0.0] * len(names)
    skin.vertid = ids
    skin.vertweight = weights


def build_human(hand: HandShape) -> mujoco.MjModel:
    """Compile the scene with one hand shape."""
    spec = build_scene()
    spec.add_material(name="skin", specular=0.2, shininess=0.25)
    spec.add_material(name="sleeve", specular=0, shininess=0)
    wrist = spec.worldbody.add_body(name="wrist", pos=[0, 0, 0.4], gravcomp=1)
    wrist.add_freejoint(name="wrist")
    for finger in ("index", "middle", "ring", "pinky"):
        _capsule(wrist, np.array([0.012, 0, 0]), hand.chains[finger][0], 0.011)
    for finger in FINGERS:
        _add_finger(spec, wrist, hand, finger)
    tools = tool_points(hand)
    for stance, (posture, reach) in PUSHES.items():
        add_pad(wrist, stance, STANCES[stance], tools[posture], reach)
    forearm = spec.worldbody.add_body(name="forearm", mocap=True, pos=[0, 0, 0.4])
    along = unit(hand.elbow)
    sleeve = forearm.add_geom(
        name="sleeve",
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        fromto=[*(along * SLEEVE_START), *(along * 0.65)],
        size=[SLEEVE_RADIUS, 0, 0],
        material="sleeve",
    )
    sleeve.contype, sleeve.conaffinity = 0, 0
    pull = spec.add_equality(
        type=mujoco.mjtEq.mjEQ_WELD, objtype=mujoco.mjtObj.mjOBJ_BODY, name1="mocap", name2="wrist"
    )
    pull.data = [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]
    pull.solref, pull.solimp = [0.008, 1], [0.97, 0.99, 0.001, 0.5, 2]
    add_grasps(spec, "wrist")
    _add_skin(spec, hand)
    return spec.compile()


class Human(Embodiment):
    """A right hand that pinches, pushes and points."""

    kind = "human"

    def __init__(self, shape: str) -> None:
        self.hand = load_hands()[shape]
        super().__init__(f"human_{shape}", build_human(self.hand), "wrist")
        self._forearm = self.model.body("forearm").mocapid[0]
        self._wrist_address = self.model.joint("wrist").qposadr[0]
        self._finger_address = np.array([self.model.joint(name).qposadr[0] for name, _, _ in JOINTS])
        self._sites = [self.model.site(f"tip_{f}").id for f in ("thumb", "index")]
        self._tools = tool_points(self.hand)

    def rotation(self, stance: str) -> np.ndarray:
        return STANCES[stance]

    def tool(self, posture: str) -> np.ndarray:
        return self._tools[posture]

    def fingers(self, posture: str, aperture: float) -> np.ndarray:
        fixed = {"push": PUSH, "blade": BLADE, "point": POINT}
        return pinch(self.hand.name, aperture + FLESH) if posture == "pinch" else fixed[posture]

    def push_contact(self, stance: str) -> tuple[float, float]:
        return PUSHES[stance][1], PUSH_HEIGHT

    def tip_below(self, posture: str) -> float:
        return RADII["index"]

    def command(self, position: np.ndarray, R: np.ndarray, fingers: np.ndarray) -> None:
        data = self.data
        data.mocap_pos[self._target] = position
        data.mocap_quat[self._target] = quaternion(R)
        data.ctrl[:] = fingers
        wrist, Rw = data.xpos[self.root], self.root_rotation()
        turn = align(Rw @ unit(self.hand.elbow), unit(ELBOW - wrist), WRIST_BEND)
        data.mocap_pos[self._forearm] = wrist
        data.mocap_quat[self._forearm] = quaternion(turn @ Rw)

    def place(self, position: np.ndarray, R: np.ndarray, fingers: np.ndarray) -> None:
        a = self._wrist_address
        self.data.qpos[a : a + 3] = position
        self.data.qpos[a + 3 : a + 7] = quaternion(R)
        self.data.qpos[self._finger_address] = fingers
        mujoco.mj_forward(self.model, self.data)
        for _ in range(SETTLE_STEPS):
            self.command(position, R, fingers)
            self.step()

    def tcp(self) -> np.ndarray:
        return self.data.site_xpos[self._sites].mean(0)

    def aperture(self) -> float:
        thumb, index = self.data.site_xpos[self._sites]
        return float(np.linalg.norm(thumb - index))


@cache
def human(shape: str) -> Human:
    """The compiled demonstrator with this hand shape; compiled once per process."""
    return Human(shape)
