"""A scripted expert that does the four tasks in the environment by contact only.

It knows where everything is and acts through the same actions as a policy. Each task is a generator of actions that
reads like a recipe; every move steers by the present poses of tool and object until it has arrived, and a grasp that
missed is tried again. Speed, and the points passed in free space, differ from trial to trial.
"""

from collections.abc import Callable, Iterator

import numpy as np

from simulation.content import DIRECTIONS, PUSH_LENGTH
from simulation.environment import (
    EPISODE_LIMIT,
    POSITION_SCALE,
    ROTATION_SCALE,
    TabletopEnvironment,
)
from simulation.objects import (
    CAP_HALF,
    CAP_REST,
    CAP_TRAVEL,
    CUP_HALF,
    GRASP_WIDTH,
    MAT_THICKNESS,
    PLATE_HALF,
    PUSH_HALF,
    REST_HEIGHT,
)
from simulation.plans import CLEARANCE, CUP_GRASP, shift
from simulation.rotations import about_x, about_z, align, matrix, rotation_vector
from simulation.trials import Trial

Pose = tuple[np.ndarray, np.ndarray]
Actions = Iterator[np.ndarray]

NEAR, NEAR_TURN = 0.005, 0.03  # metres, radians: a move has arrived
PASSED, PASSED_TURN = 0.025, 0.15  # the same in free space, where nothing has to be exact
PATIENCE = 45  # steps that a move may take
SPEED = (0.60, 0.95)  # of the fastest action
GAIN = 0.45  # share of the remaining way in one step
ACCELERATION = 0.20  # of the fastest action, gained per step
CAREFUL = 0.45  # speed in contact, relative
FREE_NOISE = 0.012  # metres
ROOM = 0.026  # metres that the gripper opens wider than the object
CLOSED, FORK = 0.0, 0.022  # openings, metres; two spread fingers push without turning the object
PUSH_HEIGHT = 0.021
GRASP_TRIES = 3


class Expert:
    """Acts in one trial.

    Args:
        environment: reset to the trial.
        trial: which one.
    """

    def __init__(self, environment: TabletopEnvironment, trial: Trial) -> None:
        self._world, self._content = environment, environment.content
        self._rng = trial.random(2)
        self._down = environment.arm.assets.down
        self._speed = float(self._rng.uniform(*SPEED))
        self._velocity = np.zeros(2)  # speeds of the last action: displacement, rotation

    def actions(self) -> Actions:
        """The actions of the whole trial, each computed from the state in which it is asked for."""
        recipes = {
            "pick_place": self._pick_place,
            "push": self._push,
            "press": self._press,
            "flip": self._flip,
        }
        yield from recipes[self._content.task]()
        while True:
            yield self._toward((self._world.position, self._world.R), self._world.arm.max_opening, 1.0)

    # What moves are made of.

    def _limited(self, way: np.ndarray, scale: float, kind: int, share: float) -> np.ndarray:
        """Displacement or rotation of one action: towards the goal, at a speed that changes smoothly."""
        length = float(np.linalg.norm(way)) / scale
        speed = min(self._speed * share, GAIN * length, self._velocity[kind] + ACCELERATION)
        self._velocity[kind] = speed
        return way / scale * (speed / max(length, 1e-9))

    def _toward(self, goal: Pose, opening: float, share: float) -> np.ndarray:
        world = self._world
        way = self._limited(goal[0] - world.position, POSITION_SCALE, 0, share)
        twist = self._limited(rotation_vector(goal[1] @ world.R.T), ROTATION_SCALE, 1, share)
        return np.concatenate([way, twist, [2 * opening / world.arm.max_opening - 1]])

    def _move(
        self,
        goal: Callable[[], Pose],
        opening: float,
        share: float = 1.0,
        near: tuple[float, float] = (NEAR, NEAR_TURN),
    ) -> Actions:
        """Go until the measured pose is near the goal, which may move."""
        arm = self._world.arm
        for _ in range(PATIENCE):
            position, R = goal()
            off = np.linalg.norm(position - arm.tool())
            turned = np.linalg.norm(rotation_vector(R @ arm.rotation().T))
            if off < near[0] and turned < near[1]:
                return
            yield self._toward((position, R), opening, share)

    def _pass(self, goal: Callable[[], Pose], opening: float, noise: float = FREE_NOISE) -> Actions:
        """Go through a point in free space, give or take."""
        aside = self._rng.normal(0, noise, 3)
        yield from self._move(lambda: (goal()[0] + aside, goal()[1]), opening, near=(PASSED, PASSED_TURN))

    def _wait(self, opening: float, steps: int) -> Actions:
        """Stand still while the gripper moves."""
        here = self._world.position.copy(), self._world.R.copy()
        for _ in range(steps):
            yield self._toward(here, opening, 1.0)

    def _where(self) -> np.ndarray:
        """Present position of the object."""
        return self._world.pose(self._content.object)[:3]

    def _held(self) -> bool:
        return self._world.arm.pads_touching(self._content.object) == 2

    def _grasp(self, grip: Callable[[], Pose], wide: float) -> Actions:
        """Reach over the object, descend, close and lift; again if it was missed."""
        for _ in range(GRASP_TRIES):
            yield from self._pass(lambda: (grip()[0] + shift(z=CLEARANCE * 0.7), grip()[1]), wide)
            yield from self._move(lambda: (grip()[0] + shift(z=0.05), grip()[1]), wide, near=(0.012, 0.06))
            yield from self._move(grip, wide, CAREFUL)
            yield from self._wait(CLOSED, 5)
            if self._held():
                top = self._world.position + shift(z=0.10), self._world.R.copy()
                yield from self._pass(lambda top=top: top, CLOSED, noise=0.006)
                if self._held():
                    return
            yield from self._wait(wide, 3)

    # The tasks.

    def _pick_place(self) -> Actions:
        content, thing = self._content, self._content.object
        wide = GRASP_WIDTH[thing] + ROOM
        turned = about_z(content.yaws[thing]) @ self._down
        over = shift(z=0.002)
        yield from self._grasp(lambda: (self._where() + over, turned), wide)
        surface = 2 * PLATE_HALF if content.target == "plate" else MAT_THICKNESS
        rest = np.array([*content.positions[content.target], surface + REST_HEIGHT[thing]])

        def carried(height: float) -> Pose:
            """Tool pose that brings the object, wherever it sits in the grip, over the target."""
            world = self._world
            return world.position + rest + shift(z=height) - self._where(), turned

        yield from self._pass(lambda: carried(0.09), CLOSED)
        for _ in range(PATIENCE):
            if self._where()[2] < rest[2] + 0.006 or not self._held():
                break
            yield self._toward(carried(0.002), CLOSED, CAREFUL)
        yield from self._wait(wide, 4)
        away = self._world.position + shift(x=-0.03, z=0.12), turned
        yield from self._pass(lambda: away, wide)

    def _push(self) -> Actions:
        content = self._content
        along = np.array([*DIRECTIONS[content.direction], 0.0])
        R = about_z(np.pi / 2) @ self._down if along[0] else self._down
        start = np.array([*content.positions[content.object], PUSH_HEIGHT])
        gap = PUSH_HALF[content.object][0 if along[0] else 1] + self._world.arm.assets.reach["push_right"]
        behind = start - along * (gap + 0.035)
        end = start + along * (PUSH_LENGTH - gap)
        yield from self._pass(lambda: (behind + shift(z=0.11), R), FORK)
        yield from self._move(lambda: (behind + shift(z=0.05), R), FORK, near=(0.012, 0.06))
        yield from self._move(lambda: (behind, R), FORK, CAREFUL)
        yield from self._move(lambda: (end, R), FORK, CAREFUL)
        yield from self._move(lambda: (end - along * 0.03, R), FORK, CAREFUL)
        yield from self._pass(lambda: (end + shift(z=0.15) - along * 0.05, R), FORK)

    def _press(self) -> Actions:
        top = np.array(
            [*self._content.positions["button"], CAP_REST + CAP_HALF + self._world.arm.assets.closed_tip]
        )
        yield from self._pass(lambda: (top + shift(z=0.10), self._down), CLOSED)
        yield from self._move(lambda: (top + shift(z=0.02), self._down), CLOSED)
        yield from self._move(lambda: (top - shift(z=CAP_TRAVEL), self._down), CLOSED, CAREFUL)
        yield from self._pass(lambda: (top + shift(x=-0.05, z=CLEARANCE), self._down), CLOSED)

    def _flip(self) -> Actions:
        world, content = self._world, self._content
        wide = world.arm.max_opening
        over = shift(y=CUP_GRASP, z=0.005)
        yield from self._grasp(lambda: (self._where() + over, self._down), wide)
        x, y = content.positions["cup"]
        up = np.array([0.0, 0.0, 1.0])

        def standing(height: float) -> Pose:
            """Tool pose that rights the cup, however it sits in the grip, at a height over the table."""
            cup = world.pose("cup")
            rest = np.array([x, y, CUP_HALF + height])
            right = align(matrix(cup[3:])[:, 2], up, np.pi) @ world.arm.rotation()
            return world.position + rest - cup[:3], right

        yield from self._move(lambda: standing(0.07), CLOSED, near=(0.02, 0.04))
        for _ in range(PATIENCE):
            if self._where()[2] < CUP_HALF + 0.003 or not self._held():
                break
            yield self._toward(standing(0.0), CLOSED, CAREFUL)
        yield from self._wait(wide, 5)
        turned = about_x(np.pi / 2) @ self._down
        out = world.position - shift(y=0.10), turned
        yield from self._move(lambda: out, wide, 0.7)
        away = out[0] + shift(x=-0.04, z=0.10), turned
        yield from self._pass(lambda: away, wide)


def demonstrate(environment: TabletopEnvironment, trial: Trial) -> bool:
    """Let the expert act in a trial until it is over; returns whether it succeeded."""
    environment.reset(trial)
    success = False
    for _, action in zip(range(EPISODE_LIMIT), Expert(environment, trial).actions(), strict=False):
        _, done, success = environment.step(action)
        if done:
            break
    return success
