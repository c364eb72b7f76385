"""The tabletop as a closed-loop environment: four tasks done by contact (paper section 4.3 and appendix A.6).

An **action** is (7,) in [-1, 1], carried out in one control step of 0.1 s:

| numbers | meaning |
|---|---|
| 0-2 | displacement of the tool point along the world's axes, 1 = 0.03 m |
| 3-5 | rotation vector about the world's axes, 1 = 0.15 rad, applied from the left |
| 6 | opening of the gripper, absolute: -1 closed, 1 wide open |

Displacements add to the *commanded* pose, as in CALVIN, so that the lag of the servos does not accumulate; the commanded
pose never runs further than `LEASH` ahead of the measured one. The world's axes are those of the robot's base: x
forward, towards the third-person camera, y to the left of the robot, z up.

**Proprioception** is (7,), measured: tool point in the world (3, metres), rotation vector from *pointing down* (3,
radians, world's axes; zero at the start, never near its singularity at pi), opening (metres).

A trial **succeeds** when its criterion in `simulation.success` has held for `HOLD` control steps with the object at
rest and out of the gripper's hold; a button counts as pressed at once.
"""

from dataclasses import dataclass
from functools import cached_property, partial

import mujoco
import numpy as np

from data_schemas.errors import UserError
from data_schemas.robot_interface import RobotInterface
from simulation.appearance import Appearance, Tone, apply
from simulation.contact_arm import WRIST_CAMERA, ContactArm
from simulation.content import TASKS, Content
from simulation.objects import CAP_REST
from simulation.rendering import Renderer
from simulation.rollout import place_objects
from simulation.rotations import rotation_vector, turn
from simulation.scene import CAMERA
from simulation.success import succeeded
from simulation.trials import START_OPENING, Trial, trials

RATE = 10.0  # control steps a second
EPISODE_LIMIT = 160
POSITION_SCALE, ROTATION_SCALE = 0.03, 0.15  # metres, radians a step at an action of 1
LEASH_POSITION, LEASH_ROTATION = 0.05, 0.30  # metres, radians
WORKSPACE = np.array([[-0.20, -0.40, 0.009], [0.42, 0.40, 0.50]])  # metres, of the commanded tool point
OPENING_SPEED = 0.25  # metres a second
HOLD = 3
AT_REST = 0.02  # metres a second
NUMBERS = ("x", "y", "z", "rotation_x", "rotation_y", "rotation_z", "opening")
INTERFACE = RobotInterface(
    rate=RATE,
    actions=NUMBERS,
    action_scale=(*[POSITION_SCALE] * 3, *[ROTATION_SCALE] * 3, 1.0),
    proprioception=NUMBERS,
)


@dataclass(frozen=True)
class Observation:
    """What a policy sees after a step. Pictures are rendered when first read, until the next trial begins.

    proprioception: (7,), see above; instruction: English; third_view, wrist: (S, S, 3) uint8 RGB.
    """

    environment: "TabletopEnvironment"
    trial: Trial
    instruction: str
    proprioception: np.ndarray
    qpos: np.ndarray

    @cached_property
    def third_view(self) -> np.ndarray:
        return self.environment.render(self, CAMERA)

    @cached_property
    def wrist(self) -> np.ndarray:
        return self.environment.render(self, WRIST_CAMERA)


class TabletopEnvironment:
    """One robot at the table.

    Args:
        robot: arm that can grasp by contact, see `simulation.contact_arm.ROBOTS`.
        size: width and height of the pictures, pixels.
        appearance: strengths of the variation of the look; the robot's side of it is used.
    """

    tasks = TASKS
    episode_limit = EPISODE_LIMIT
    interface = INTERFACE

    def __init__(
        self, robot: str = "xarm7_gripper", size: int = 224, appearance: Appearance | None = None
    ) -> None:
        self.arm = ContactArm(robot)
        self.size = size
        self._appearance = appearance or Appearance()
        self._view = mujoco.MjData(self.arm.model)
        self._renderer: Renderer | None = None
        self._tone: Tone
        self._trial: Trial | None = None
        self.content: Content
        self.position = np.zeros(3)
        self.R = np.eye(3)
        self.steps = 0
        self._opening = START_OPENING
        self._held_for = 0
        self._lowest = CAP_REST
        self._done = True

    def trials(self, task: str, count: int = 60, seed: int = 0) -> list[Trial]:
        """The first `count` trials of a task."""
        return trials(task, count, seed)

    def reset(self, trial: Trial) -> Observation:
        """Put the objects and the arm where the trial says and give the scene the trial's look."""
        model, data = self.arm.model, self.arm.data
        self._trial, self.content = trial, trial.content()
        look_seed = [trial.seed, 104, self.content.layout]
        self._tone = apply(self.arm, self.content, self._appearance, trial.random(1), look_seed)
        place_objects(model, data, self.content)
        self.position, self.R, self._opening = trial.start(), self.arm.assets.down.copy(), START_OPENING
        self.arm.place(self.position, self.R, self._opening)
        self.arm.move(self.position, self.R, self._opening, 1 / RATE)
        self.steps, self._held_for, self._lowest, self._done = 0, 0, CAP_REST, False
        return self._observe()

    def step(self, action: np.ndarray) -> tuple[Observation, bool, bool]:
        """Carry out one action.

        Args:
            action: (7,), see above; values beyond [-1, 1] are clipped.

        Returns:
            The observation after it, whether the trial is over, whether it succeeded.

        Raises:
            UserError: the action has another shape or is not finite, or the trial is over.
        """
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (len(NUMBERS),) or not np.isfinite(action).all():
            raise UserError(
                f"Action of shape {action.shape}: expected {len(NUMBERS)} finite numbers {', '.join(NUMBERS)}."
            )
        if self._done:
            raise UserError("The trial is over: call reset(trial) before the next step.")
        self._command(np.clip(action, -1, 1))
        self.arm.move(self.position, self.R, self._opening, 1 / RATE)
        self.steps += 1
        success = self._judge()
        self._done = success or self.steps >= EPISODE_LIMIT
        return self._observe(), self._done, success

    def pose(self, body: str) -> np.ndarray:
        """Present pose (7,) of an object: position in the world and quaternion wxyz. Privileged."""
        state = self.arm.data.body(body)
        return np.concatenate([state.xpos, state.xquat])

    def render(self, observation: Observation, camera: str) -> np.ndarray:
        """Picture (S, S, 3) of the moment of an observation of the present trial."""
        if observation.trial is not self._trial:
            raise RuntimeError("The observation belongs to an earlier trial, whose look is gone.")
        if self._renderer is None:
            self._renderer = Renderer(self.arm.model, self.size)
        self._view.qpos[:] = observation.qpos
        mujoco.mj_kinematics(self.arm.model, self._view)
        mujoco.mj_comPos(self.arm.model, self._view)
        mujoco.mj_camlight(self.arm.model, self._view)
        return self._tone.apply(self._renderer.render(self._view, camera)[0])

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _command(self, action: np.ndarray) -> None:
        measured, R = self.arm.tool(), self.arm.rotation()
        ahead = self.position + POSITION_SCALE * action[:3] - measured
        ahead *= min(1.0, LEASH_POSITION / max(1e-9, float(np.linalg.norm(ahead))))
        self.position = np.clip(measured + ahead, *WORKSPACE)
        twist = rotation_vector(turn(ROTATION_SCALE * action[3:6]) @ self.R @ R.T)
        twist *= min(1.0, LEASH_ROTATION / max(1e-9, float(np.linalg.norm(twist))))
        self.R = turn(twist) @ R
        wanted = 0.5 * (action[6] + 1) * self.arm.max_opening
        reach = OPENING_SPEED / RATE
        self._opening += float(np.clip(wanted - self._opening, -reach, reach))

    def _judge(self) -> bool:
        content, data = self.content, self.arm.data
        poses = {name: self.pose(name) for name in (*content.positions, "button_cap")}
        self._lowest = min(self._lowest, poses["button_cap"][2])
        poses["button_cap"][2] = self._lowest
        met = succeeded(content, poses)
        if content.task == "press":
            return met
        body = self.arm.model.body(content.object)
        address = self.arm.model.jnt_dofadr[body.jntadr[0]]
        resting = np.linalg.norm(data.qvel[address : address + 3]) < AT_REST
        free = self.arm.pads_touching(content.object) < 2
        self._held_for = self._held_for + 1 if met and resting and free else 0
        return self._held_for >= HOLD

    def _observe(self) -> Observation:
        assert self._trial is not None
        down = self.arm.assets.down
        proprioception = np.concatenate(
            [self.arm.tool(), rotation_vector(self.arm.rotation() @ down.T), [self.arm.opening()]]
        )
        return Observation(
            self, self._trial, self.content.instruction, proprioception, self.arm.data.qpos.copy()
        )


PandaTabletop = partial(TabletopEnvironment, "panda")
"""The same tasks by a Franka Panda."""
