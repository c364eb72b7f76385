"""What a human hand and a robot arm have in common: a root body moved through poses, fingers, and a grasp.

A task plan speaks of *stances* (how the tool is turned), *postures* (what the fingers do) and *apertures* (metres
between the fingers); an embodiment turns them into root poses and finger commands. Grasps are assisted: a weld
between root and object switches on when the fingers have closed, because friction grasps with a skinned hand are
not reliable enough for scripted data. Pressing and placing are real contacts of the fingers; pushing is real contact
too, but of a small unseen flat pad in front of them: round fingers tip, trap or lose one block in five.
"""

from abc import ABC, abstractmethod

import mujoco
import numpy as np

from simulation.objects import FREE
from simulation.rotations import quaternion

COMMAND_EVERY = 2  # simulation steps per new command
EFFECTOR = 2  # collision bit of hands and grippers, see simulation.objects
PUSH_DIRECTIONS = {"push_away": (1.0, 0.0, 0.0), "push_right": (0.0, 1.0, 0.0), "push_left": (0.0, -1.0, 0.0)}
PAD_HALF = np.array([0.006, 0.030, 0.011])  # metres: thickness, width, height


class Embodiment(ABC):
    """A compiled model with its state.

    Attributes: kind (`human` or `robot`), name, model, data, root (body id of the wrist or flange).
    """

    kind: str

    def __init__(self, name: str, model: mujoco.MjModel, root: str) -> None:
        self.name = name
        self.model = model
        self.data = mujoco.MjData(model)
        self.root = model.body(root).id
        self._target = model.body("mocap").mocapid[0]
        self._pads = {stance: model.geom(f"pad_{stance}").id for stance in PUSH_DIRECTIONS}
        touching = np.flatnonzero(model.geom_contype == EFFECTOR)
        self._fingers = np.setdiff1d(touching, list(self._pads.values()))

    @abstractmethod
    def rotation(self, stance: str) -> np.ndarray:
        """World rotation of the root for a stance at yaw 0."""

    @abstractmethod
    def tool(self, posture: str) -> np.ndarray:
        """The point of the root frame that acts in this posture, metres."""

    @abstractmethod
    def fingers(self, posture: str, aperture: float) -> np.ndarray:
        """Finger command for a posture."""

    @abstractmethod
    def push_contact(self, stance: str) -> tuple[float, float]:
        """Distance from the tool point to the surface that pushes, and the tool point's height, metres."""

    @abstractmethod
    def tip_below(self, posture: str) -> float:
        """How far the finger tip reaches below the tool point, metres."""

    def touch_with(self, stance: str) -> None:
        """Let the pad of a push stance touch objects, or the fingers in any other stance."""
        self.model.geom_contype[self._fingers] = 0 if stance in self._pads else EFFECTOR
        for name, pad in self._pads.items():
            self.model.geom_contype[pad] = EFFECTOR if name == stance else 0

    @abstractmethod
    def command(self, position: np.ndarray, R: np.ndarray, fingers: np.ndarray) -> None:
        """Set the actuators so that the root moves to a world pose."""

    @abstractmethod
    def place(self, position: np.ndarray, R: np.ndarray, fingers: np.ndarray) -> None:
        """Start a demonstration at a root pose: set the joints there and let the servos settle."""

    @abstractmethod
    def tcp(self) -> np.ndarray:
        """The point between the finger tips in the world, metres."""

    @abstractmethod
    def aperture(self) -> float:
        """Present opening between the fingers, metres."""

    def joints(self) -> np.ndarray:
        """Arm joint positions and velocities; empty for a human."""
        return np.zeros(0)

    def wrist(self) -> np.ndarray:
        """The point that stands for this embodiment in a video: wrist joint or TCP, in the world, metres."""
        return self.data.xpos[self.root].copy()

    def root_rotation(self) -> np.ndarray:
        """World rotation of the root."""
        return self.data.xmat[self.root].reshape(3, 3).copy()

    def grasp(self, name: str) -> None:
        """Hold an object at its present pose relative to the root."""
        model, data = self.model, self.data
        weld = model.equality(f"grasp_{name}").id
        body = data.body(name)
        R = self.root_rotation()
        relative = model.eq_data[weld]
        relative[:3] = 0
        relative[3:6] = R.T @ (body.xpos - data.xpos[self.root])
        relative[6:10] = quaternion(R.T @ body.xmat.reshape(3, 3))
        relative[10] = 1
        data.eq_active[weld] = 1

    def release(self) -> None:
        """Let go of whatever is held."""
        for name in FREE:
            self.data.eq_active[self.model.equality(f"grasp_{name}").id] = 0

    def step(self) -> None:
        """Advance the simulation by one time step."""
        mujoco.mj_step(self.model, self.data)


def add_pad(root, stance: str, R: np.ndarray, tool: np.ndarray, reach: float) -> None:
    """Add a push stance's pad to the root body: upright and facing the push when the root has rotation `R`."""
    along = np.array(PUSH_DIRECTIONS[stance])
    upright = np.column_stack([along, np.cross([0, 0, 1], along), [0, 0, 1]])
    pad = root.add_geom(
        name=f"pad_{stance}",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=PAD_HALF,
        pos=tool + R.T @ (along * (reach - PAD_HALF[0])),
        quat=quaternion(R.T @ upright),
        mass=0.001,
        group=3,
    )
    # Compiled as colliding, or MuJoCo's bounding volumes would leave it out; `touch_with` chooses.
    pad.contype, pad.conaffinity, pad.condim, pad.friction = EFFECTOR, 0, 4, [1.0, 0.02, 0.001]


def add_grasps(spec: mujoco.MjSpec, root: str) -> None:
    """Add one inactive weld per free object."""
    for name in FREE:
        weld = spec.add_equality(
            name=f"grasp_{name}",
            type=mujoco.mjtEq.mjEQ_WELD,
            objtype=mujoco.mjtObj.mjOBJ_BODY,
            name1=root,
            name2=name,
            active=False,
        )
        weld.solref = [0.01, 1]
        weld.data = [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]
