"""The table with its sliding door, drawer, button, switch and lights, and the three blocks.

A scene's **state** is (24,): door and drawer (metres), button and switch (metres), bulb and LED (0 or 1), then six numbers
a block: position in metres and Euler angles xyz, blocks in the order of the scene's file.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pybullet_utils.bullet_client import BulletClient

from simulation.calvin.data import CalvinData, SceneSettings, Surfaces
from simulation.calvin.world import ROBOT, TABLE, BlockState, Contact, WorldState

JOINT_FORCE = 4.0  # newtons that brake a sliding joint or return the button
OFF = (1.0, 1.0, 1.0, 1.0)  # colour of a light that is off
BLOCK_STATE = 6  # numbers a block in the state


class Light:
    """A link whose colour says whether it is on."""

    def __init__(self, client: BulletClient, body: int, link: int, color: list[float]) -> None:
        self._client, self._body, self._link, self._color = client, body, link, color
        self.on = False

    def switch(self, on: bool) -> None:
        """Turn on or off."""
        self.on = on
        self._client.changeVisualShape(self._body, self._link, rgbaColor=self._color if on else OFF)


class Slide:
    """One sliding joint of the table. `limit` is its end in metres; the other is 0.

    Args:
        holds: a motor returns it to its start, as the button's; the others are only braked.
    """

    def __init__(
        self, client: BulletClient, body: int, joint: int, start: float, holds: bool = False
    ) -> None:
        self._client, self._body, self._joint, self._start = client, body, joint, start
        lower, self.limit = client.getJointInfo(body, joint)[8:10]
        self._middle = (lower + self.limit) / 2
        if holds:
            client.setJointMotorControl2(
                body, joint, client.POSITION_CONTROL, targetPosition=start, force=JOINT_FORCE
            )
        else:
            client.setJointMotorControl2(body, joint, client.VELOCITY_CONTROL, force=JOINT_FORCE)

    def reset(self, position: float | None = None) -> None:
        """Put it at a position in metres, or at its start."""
        self._client.resetJointState(self._body, self._joint, self._start if position is None else position)

    def position(self) -> float:
        """Metres."""
        return float(self._client.getJointState(self._body, self._joint)[0])

    def pressed(self) -> bool:
        """Whether it is past its middle, seen from its start."""
        if self._start <= self._middle:
            return self.position() > self._middle
        return self.position() < self._middle


class Scene:
    """All but the robot.

    Args:
        client: the physics; the robot has been loaded, and nothing after it.
        data, settings: files, and which of them.
        robot: body number of the robot.
    """

    def __init__(self, client: BulletClient, data: CalvinData, settings: SceneSettings, robot: int) -> None:
        self._client = client
        self.settings = settings
        scale = settings.global_scaling
        # Where the blocks are loaded decides in which order contacts are solved, so they come where calvin_env puts them.
        random = np.random.default_rng(0)
        self.blocks: dict[str, int] = {}
        for name, block in settings.blocks.items():
            position, euler = draw_pose(block, settings.surfaces, random)
            quaternion = client.getQuaternionFromEuler(euler)
            self.blocks[name] = _load(client, data.file(block["file"]), scale, position, quaternion)
        table = settings.table
        turn = client.getQuaternionFromEuler(table["initial_orn"])
        self.table = _load(client, data.file(table["file"]), scale, table["initial_pos"], turn)
        joints, links = _names(client, self.table)

        def slides(kind: str, holds: bool = False) -> dict[str, Slide]:
            return {
                name: Slide(client, self.table, joints[name], entry["initial_state"], holds)
                for name, entry in table[kind].items()
            }

        self.doors, self._buttons, self._switches = (
            slides("joints"),
            slides("buttons", True),
            slides("switches"),
        )
        self._lights = {
            name: Light(client, self.table, links[light["link"]], light["color"])
            for name, light in table["lights"].items()
        }
        self._effects = {
            name: self._lights[entry["effect"]]
            for kind in ("buttons", "switches")
            for name, entry in table[kind].items()
        }
        _load(client, data.file("plane/plane.urdf"), 1.0)
        self._bodies = {robot: ROBOT, self.table: TABLE} | {uid: name for name, uid in self.blocks.items()}
        self._links = {
            body: {link: name for name, link in _names(client, body)[1].items()} for body in self._bodies
        }
        self._was_pressed: dict[str, bool] = {}

    @property
    def state_size(self) -> int:
        """Length of the state, 24 in CALVIN."""
        return len(self._movable()) + len(self._lights) + BLOCK_STATE * len(self.blocks)

    def reset(self, state: np.ndarray) -> None:
        """Put everything at once where a state (24,) says."""
        movable = self._movable()
        lights = np.split(state[len(movable) :], [len(self._lights)])[0]
        for slide, position in zip(movable, state, strict=False):
            slide.reset(position)
        for light, on in zip(self._lights.values(), lights, strict=True):
            light.switch(bool(on))
        for i, body in enumerate(self.blocks.values()):
            position, euler = np.split(state[self._block_part(i)], 2)
            self._client.resetBasePositionAndOrientation(
                body, position, self._client.getQuaternionFromEuler(euler)
            )
        # A switch that is found pressed turns its light on at the first step, as in calvin_env.
        self._was_pressed = dict.fromkeys([*self._buttons, *self._switches], False)

    def step(self) -> None:
        """Let button and switch act on their lights: a press toggles one, the other shows where the switch is."""
        for name, button in self._buttons.items():
            pressed = button.pressed()
            if pressed and not self._was_pressed[name]:
                self._effects[name].switch(not self._effects[name].on)
            self._was_pressed[name] = pressed
        for name, switch in self._switches.items():
            pressed = switch.pressed()
            if pressed != self._was_pressed[name]:
                self._effects[name].switch(pressed)
            self._was_pressed[name] = pressed

    def observe(self) -> np.ndarray:
        """State (24,), measured."""
        poses = []
        for body in self.blocks.values():
            position, quaternion = self._client.getBasePositionAndOrientation(body)
            poses += [*position, *self._client.getEulerFromQuaternion(quaternion)]
        slides = [slide.position() for slide in self._movable()]
        return np.array([*slides, *[float(light.on) for light in self._lights.values()], *poses])

    def world(self, robot: int) -> WorldState:
        """What the oracle sees now."""
        touched = self._client.getContactPoints(bodyA=robot)
        return WorldState(
            blocks={name: self._block(body) for name, body in self.blocks.items()},
            robot_touches=frozenset(self._body(contact[2]) for contact in touched),
            doors={name: door.position() for name, door in self.doors.items()},
            lights={name: int(light.on) for name, light in self._lights.items()},
        )

    def _movable(self) -> list[Slide]:
        return [*self.doors.values(), *self._buttons.values(), *self._switches.values()]

    def _block_part(self, number: int) -> slice:
        first = len(self._movable()) + len(self._lights) + BLOCK_STATE * number
        return slice(first, first + BLOCK_STATE)

    def _block(self, body: int) -> BlockState:
        position, quaternion = self._client.getBasePositionAndOrientation(body)
        linear, angular = self._client.getBaseVelocity(body)
        contacts = self._client.getContactPoints(bodyA=body)
        return BlockState(
            np.array(position),
            np.array(quaternion),
            np.array(linear),
            np.array(angular),
            frozenset(self._contact(contact[2], contact[4]) for contact in contacts),
        )

    def _body(self, body: int) -> str:
        return self._bodies.get(body, f"body {body}")

    def _contact(self, body: int, link: int) -> Contact:
        return self._body(body), self._links.get(body, {}).get(link, str(link))


def draw_pose(
    block: Mapping[str, Any], surfaces: Surfaces, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Position and Euler angles of a block: those of the scene's file, or where it says `any`, random ones."""
    position, euler = block["initial_pos"], block["initial_orn"]
    if position == "any":
        surface = random.choice(list(surfaces))
        position = random.uniform(*surfaces[surface])
    if euler == "any":
        euler = random.uniform([0, 0, -np.pi], [0, 0, np.pi])
    return np.asarray(position, dtype=float), np.asarray(euler, dtype=float)


def _load(
    client: BulletClient,
    file: Path,
    scale: float,
    position: Sequence[float] | np.ndarray = (0, 0, 0),
    quaternion: Sequence[float] = (0, 0, 0, 1),
) -> int:
    return client.loadURDF(str(file), position, quaternion, globalScaling=scale)


def _names(client: BulletClient, body: int) -> tuple[dict[str, int], dict[str, int]]:
    """Numbers of a body's joints and links by name; the base is link -1, `base_link`."""
    infos = [client.getJointInfo(body, i) for i in range(client.getNumJoints(body))]
    joints = {info[1].decode(): info[0] for info in infos}
    return joints, {info[12].decode(): info[0] for info in infos} | {"base_link": -1}
