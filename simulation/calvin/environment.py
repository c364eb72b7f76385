"""CALVIN's table as a closed-loop environment: 34 tasks, judged by its oracle, in scenes A to D.

An action is carried out in one control step of 1/30 s, see `simulation.calvin.robot`. Pictures are rendered when they
are first read and only then: at 30 Hz rendering costs many times the physics, and a policy that acts in chunks of ten
looks at every tenth step only. Each chain starts in physics as fresh as the first, so a chain does not depend on those
before it.

    environment = CalvinEnvironment(Path("calvin_env"))
    environment.start(environment.chains(1)[0])
    observation = environment.instruct("open_drawer")
    observation, done = environment.step(np.array([0, 0, -0.5, 0, 0, 0, 1]))
"""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import pybullet
from pybullet_utils.bullet_client import BulletClient

from data_schemas.errors import UserError
from data_schemas.robot_interface import RobotInterface
from simulation.calvin.cameras import Camera
from simulation.calvin.chains import Chain, official_chains
from simulation.calvin.data import CalvinData
from simulation.calvin.oracle import Oracle
from simulation.calvin.robot import POSITION_SCALE, ROTATION_SCALE, Robot
from simulation.calvin.scene import Scene
from simulation.calvin.starts import benchmark_start
from simulation.calvin.world import WorldState

PHYSICS_RATE, CONTROL_RATE = 240, 30  # steps a second
GRAVITY = -9.8
SUBTASK_LIMIT = 360  # control steps that a task may take
ACTIONS = ("x", "y", "z", "euler_x", "euler_y", "euler_z", "gripper")
INTERFACE = RobotInterface(
    rate=CONTROL_RATE,
    actions=ACTIONS,
    action_scale=(*[POSITION_SCALE] * 3, *[ROTATION_SCALE] * 3, 1.0),
    proprioception=("tcp_x", "tcp_y", "tcp_z", "euler_x", "euler_y", "euler_z", "gripper_action"),
)
RENDERERS = ("tiny", "egl")
EGL_UNLIKE = 2  # first pictures of a context that differ from all later ones


@dataclass(frozen=True)
class Observation:
    """What a policy sees after a step.

    instruction: English; robot: measured state (15,); third_view (200, 200, 3), wrist (84, 84, 3): uint8 RGB, rendered
    when first read, which has to be before the next step; proprioception: (7,), tool point in metres, its Euler angles
    and the gripper's action, as the published policies read it.
    """

    environment: "CalvinEnvironment"
    moment: int
    instruction: str
    robot: np.ndarray

    @property
    def proprioception(self) -> np.ndarray:
        return np.concatenate([self.robot[:6], self.robot[-1:]])

    @cached_property
    def third_view(self) -> np.ndarray:
        return self.environment.render("static", self.moment)

    @cached_property
    def wrist(self) -> np.ndarray:
        return self.environment.render("gripper", self.moment)


class CalvinEnvironment:
    """One table.

    Args:
        folder: the user's checkout of calvin_env or of calvin; default: the variable HARP_CALVIN.
        scene: A, B, C or D; the benchmark's chains belong to D.
        renderer: `tiny`, PyBullet's own on the CPU, or `egl`, by OpenGL, which looks as CALVIN's data do; one
            environment of a process at a time can have `egl`.

    Raises:
        UserError: no such folder or scene, or the renderer cannot be loaded.
    """

    subtask_limit = SUBTASK_LIMIT
    interface = INTERFACE
    _uses_egl: "ClassVar[weakref.ref[CalvinEnvironment] | None]" = None

    def __init__(self, folder: Path | str | None = None, scene: str = "D", renderer: str = "tiny") -> None:
        self.data = CalvinData.open(folder)
        self.settings = self.data.scene(scene)
        self.letter = scene
        self._instructions = self.data.instructions()
        self._oracle = Oracle(self.data.tasks())
        self._renderer = renderer
        self._client: BulletClient | None = None
        self.robot: Robot
        self.scene: Scene
        self._moment = 0
        self._task: str | None = None
        self._before: WorldState
        self._connect()

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the 34 tasks."""
        return self._oracle.tasks

    @property
    def client(self) -> BulletClient:
        """The physics, for whoever may know everything."""
        if self._client is None:
            raise RuntimeError("The environment is closed.")
        return self._client

    def chains(self, count: int) -> Sequence[Chain]:
        """The first `count` of the benchmark's 1,000 chains."""
        return official_chains(count)

    def start(self, chain: Chain) -> None:
        """Put everything where a chain starts."""
        self.place(*benchmark_start(chain.initial))

    def place(self, robot: np.ndarray, scene: np.ndarray) -> None:
        """Put everything where the states of robot (15,) and scene (24,) say, at rest."""
        self._load()
        self.scene.reset(scene)
        self.robot.reset(robot)
        self.client.stepSimulation()
        self._moment += 1
        self._task = None

    def instruct(self, task: str) -> Observation:
        """Ask for a task, to be judged from this moment on.

        Raises:
            UserError: an unknown task, or one without a sentence.
        """
        for names, what in ((self.tasks, "task"), (self._instructions, "task with a sentence")):
            if task not in names:
                raise UserError(f"{task!r} is no {what} of CALVIN: choose one of {', '.join(names)}.")
        self._task, self._before = task, self.world()
        return self._observe()

    def step(self, action: np.ndarray) -> tuple[Observation, bool]:
        """Carry out one action.

        Args:
            action: (7,), see `simulation.calvin.robot`.

        Returns:
            The observation after it, and whether the task is done.

        Raises:
            UserError: the action has another shape or is not finite, or no task has been asked for.
        """
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (len(ACTIONS),) or not np.isfinite(action).all():
            raise UserError(
                f"Action of shape {action.shape}: expected {len(ACTIONS)} finite numbers {', '.join(ACTIONS)}."
            )
        if self._task is None:
            raise UserError("No task has been asked for: call instruct(task) before the first step.")
        self.robot.act(action)
        for _ in range(PHYSICS_RATE // CONTROL_RATE):
            self.client.stepSimulation()
        self.scene.step()
        self._moment += 1
        return self._observe(), self._oracle.achieved(self._task, self._before, self.world())

    def world(self) -> WorldState:
        """What the oracle sees now. Privileged."""
        return self.scene.world(self.robot.body)

    def render(self, camera: str, moment: int) -> np.ndarray:
        """Picture (H, W, 3) of `static` or `gripper`.

        Raises:
            RuntimeError: the moment has passed.
        """
        if moment != self._moment:
            raise RuntimeError(
                "The picture of an earlier moment cannot be rendered: read it before the next step."
            )
        return self.cameras[camera].render()

    def close(self) -> None:
        """Free the physics."""
        if self._client is not None:
            self._client.disconnect()
            self._client = None

    def _observe(self) -> Observation:
        assert self._task is not None
        return Observation(self, self._moment, self._instructions[self._task], self.robot.observe())

    def _connect(self) -> None:
        if self._renderer not in RENDERERS:
            raise UserError(f"Unknown renderer {self._renderer!r}: choose one of {', '.join(RENDERERS)}.")
        self._client = BulletClient(pybullet.DIRECT)
        if self._renderer == "egl":
            self._load_egl()
        self._load()
        if self._renderer == "egl":
            # PyBullet draws no shadows in the first two pictures of a context.
            for _ in range(EGL_UNLIKE):
                self.cameras["gripper"].render()

    def _load_egl(self) -> None:
        uses_egl = CalvinEnvironment._uses_egl
        other = uses_egl() if uses_egl else None
        if other and other._client is not None:
            raise UserError(
                "Another environment of this process renders by EGL, and PyBullet would mix up their pictures: close it "
                "first, or choose `tiny`."
            )
        plugin = find_spec("eglRenderer")
        file = plugin.origin if plugin and plugin.origin else "eglRendererPlugin"
        if self.client.loadPlugin(file, "_eglRendererPlugin") < 0:
            raise UserError("PyBullet's EGL renderer cannot be loaded on this machine: choose `tiny`.")
        CalvinEnvironment._uses_egl = weakref.ref(self)

    def _load(self) -> None:
        client = self.client
        client.resetSimulation()
        client.setTimeStep(1 / PHYSICS_RATE)
        client.setGravity(0, 0, GRAVITY)
        settings = self.data.robot()
        self.robot = Robot(client, str(self.data.file(settings.filename)), settings, self.settings)
        self.scene = Scene(client, self.data, self.settings, self.robot.body)
        kind = pybullet.ER_TINY_RENDERER if self._renderer == "tiny" else pybullet.ER_BULLET_HARDWARE_OPENGL
        cameras = {"static": self.data.static_camera(), "gripper": self.data.gripper_camera()}
        self.cameras = {
            name: Camera(client, settings, self.robot.body, kind) for name, settings in cameras.items()
        }
