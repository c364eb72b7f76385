"""What scripted motions are made of: steering the tool point to places, and knowing where everything is.

Convention: positions in metres in the world (x along the table, y into it, z up); the tool points down, and its yaw is
the last Euler angle, at which the fingers close along x where it is 90 degrees.
"""

from collections.abc import Callable, Iterator

import numpy as np

from simulation.calvin.environment import CalvinEnvironment
from simulation.calvin.robot import POSITION_SCALE, ROTATION_SCALE
from simulation.calvin.world import ROBOT

Actions = Iterator[np.ndarray]
Place = np.ndarray | Callable[[], np.ndarray]

OPEN, CLOSED = 1.0, -1.0
ACROSS = np.pi / 2  # yaw at which the fingers close along x, as at the start
YAW_RANGE = 2.2  # radians either side of it that the wrist can turn
SAFE = 0.62  # metres; the tool passes over everything but the lights
REACH, HAND = (
    0.70,
    0.24,
)  # metres from the base that the tool reaches pointing down; hand's length, wrist to tool
MOST_LEAN = 0.6  # radians
CABINET, CABINET_LEAN = 0.05, 0.4  # metres, radians: within the cabinet the hand leans away from its back
CLEAR = -0.12  # metres; in front of the cabinet
NEAR, NEAR_TURN = 0.006, 0.04  # metres, radians: a move has arrived
PASSED = 0.03  # the same in free space
LEASH = 0.05  # metres that the target may run ahead
GAIN = 0.5  # share of the remaining way in one step
STALLED, STALL_STEPS = 0.001, 12  # metres that a move has to come nearer in so many steps, or it ends
PATIENCE = 70  # steps that a move may take


class Motions:
    """Steers the arm of an environment by relative actions.

    Args:
        speed: of the fastest action.
    """

    def __init__(self, environment: CalvinEnvironment, speed: float = 1.0) -> None:
        self._environment = environment
        self._client, self._robot, self._scene = environment.client, environment.robot, environment.scene
        self._base = np.array(environment.settings.robot_base_position)
        self._speed = speed
        self.grip = float(self._robot.observe()[-1])

    def tool(self) -> np.ndarray:
        """Measured position (3,) of the tool point."""
        return np.array(self._robot.tool()[0])

    def yaw(self) -> float:
        """Commanded yaw."""
        return float(self._robot.target_euler[2])

    def link(self, name: str) -> np.ndarray:
        """Position (3,) of the frame of one of the table's links."""
        joints = range(self._client.getNumJoints(self._scene.table))
        number = next(
            i for i in joints if self._client.getJointInfo(self._scene.table, i)[12].decode() == name
        )
        state = self._client.getLinkState(self._scene.table, number, computeForwardKinematics=1)
        return np.array(state[4])

    def block(self, name: str) -> np.ndarray:
        """Position (3,) of a block."""
        return np.array(self._client.getBasePositionAndOrientation(self._scene.blocks[name])[0])

    def block_yaw(self, name: str) -> float:
        """Yaw at which the fingers close over a block's short side, nearest to `ACROSS`."""
        quaternion = self._client.getBasePositionAndOrientation(self._scene.blocks[name])[1]
        R = np.array(self._client.getMatrixFromQuaternion(quaternion)).reshape(3, 3)
        size = np.array(self._client.getCollisionShapeData(self._scene.blocks[name], -1)[0][3])
        flat = [axis for axis in range(3) if abs(R[2, axis]) < 0.7]
        long = max(flat, key=lambda axis: size[axis])
        yaw = float(np.arctan2(R[1, long], R[0, long]))
        is_square = np.ptp(size[flat]) < 1e-3
        return nearest(yaw, ACROSS, np.pi / 2 if is_square else np.pi)

    def held(self) -> str | None:
        """The block that both fingers touch, if any."""
        if self.grip == OPEN:
            return None
        for name, block in self._environment.world().blocks.items():
            if len({link for body, link in block.contacts if body == ROBOT}) > 1:
                return name
        return None

    def act(self, goal: np.ndarray, yaw: float, share: float = 1.0) -> np.ndarray:
        """One action (7,) towards a place and a yaw, with the gripper as it is."""
        speed = POSITION_SCALE * self._speed * share
        target = self._robot.target_position
        way = goal - target
        way *= min(GAIN, speed / max(float(np.linalg.norm(way)), 1e-9))
        ahead = target + way - self.tool()
        ahead *= min(1.0, LEASH / max(float(np.linalg.norm(ahead)), 1e-9))
        way = self.tool() + ahead - target
        turn = self._orientation(goal, yaw) - self._robot.target_euler
        turn[:2] = (turn[:2] + np.pi) % (2 * np.pi) - np.pi
        turn = np.clip(GAIN * turn, -ROTATION_SCALE * self._speed, ROTATION_SCALE * self._speed)
        return np.concatenate([way / POSITION_SCALE, turn / ROTATION_SCALE, [self.grip]])

    def _orientation(self, place: np.ndarray, yaw: float) -> np.ndarray:
        """Euler angles at a place: down, but leaning outwards at the end of the reach and into the cabinet."""
        out = (place - self._base)[:2]
        distance = float(np.linalg.norm(out))
        lean = min(max((distance - REACH) / HAND, 0.0), MOST_LEAN) * out / distance
        if place[1] > CABINET:
            lean[1] = max(lean[1], CABINET_LEAN)
        # Leaning along x and y turns about the tool's own axes, which the yaw has turned.
        across, along = np.sin(yaw), np.cos(yaw)
        about_x = lean[0] * across - lean[1] * along
        about_y = lean[0] * along + lean[1] * across
        return np.array([np.pi - about_x, -about_y, yaw])

    def move(
        self,
        goal: Place,
        yaw: float | None = None,
        near: float = NEAR,
        share: float = 1.0,
        patience: int = PATIENCE,
    ) -> Actions:
        """Go until the tool is near a place, which may move, and turned as wanted."""
        wanted = self.yaw() if yaw is None else yaw
        best, since = np.inf, 0
        for _ in range(patience):
            place = goal() if callable(goal) else goal
            off = float(np.linalg.norm(place - self.tool()))
            turned = abs(wanted - self.yaw()) < max(NEAR_TURN, 3 * near)
            best, since = (off, 0) if off < best - STALLED or not turned else (best, since + 1)
            if (off < near and turned) or since > STALL_STEPS:
                return
            yield self.act(place, wanted, share)

    def wait(self, grip: float, steps: int) -> Actions:
        """Stand still while the gripper moves."""
        self.grip = grip
        here, yaw = self._robot.target_position.copy(), self.yaw()
        for _ in range(steps):
            yield self.act(here, yaw)

    def rise(self, height: float = SAFE) -> Actions:
        """Go straight up."""
        here = self.tool()
        if here[2] < height - NEAR:
            yield from self.move(np.array([here[0], here[1], height]), near=0.02)

    def over(self, place: np.ndarray, yaw: float | None = None, height: float = SAFE) -> Actions:
        """Travel to above a place: up, in front of the cabinet, along the table, then in."""
        yield from self.rise()
        here = self.tool()
        if here[1] > CLEAR:
            yield from self.move(np.array([here[0], CLEAR, SAFE]), near=PASSED)
        if place[1] > CLEAR:
            yield from self.move(np.array([place[0], CLEAR, SAFE]), yaw, near=PASSED)
        yield from self.move(np.array([place[0], place[1], SAFE]), yaw, near=0.015)
        if height < SAFE:
            yield from self.move(np.array([place[0], place[1], height]), yaw)

    def grasp(self, name: str) -> Actions:
        """Reach over a block, descend, close and lift a little; again where it was missed."""
        for _ in range(3):
            if self.held() == name:
                return
            yield from self.wait(OPEN, 1)
            yaw = self.block_yaw(name)
            yield from self.over(self.block(name), yaw)
            yield from self.move(lambda: self.block(name) + shift(z=0.05), yaw, near=0.01)
            yield from self.move(lambda: self.block(name), yaw, share=0.6)
            yield from self.wait(CLOSED, 6)
            yield from self.move(self.tool() + shift(z=0.03), share=0.5)

    def carry(self, name: str, place: np.ndarray, yaw: float | None = None) -> Actions:
        """Bring a held block to a place, wherever it sits in the grip, and let go."""
        yield from self.over(place, yaw)

        def goal(height: float) -> np.ndarray:
            return self.tool() + place + shift(z=height) - self.block(name)

        yield from self.move(lambda: goal(0.04), yaw, near=0.01)
        yield from self.move(lambda: goal(0.003), yaw, near=0.004, share=0.5)
        yield from self.wait(OPEN, 6)


def shift(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    """A displacement (3,) in metres."""
    return np.array([x, y, z])


def nearest(angle: float, to: float, period: float) -> float:
    """The angle plus a multiple of the period that is nearest to another one."""
    return angle + period * round((to - angle) / period)
