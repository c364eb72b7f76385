"""The 34 tasks: a task is a change between two moments of the world, judged by one of nine criteria.

Which criterion with which arguments is CALVIN's configuration; the criteria are those of `calvin_env`, two of its
accidents included, since the published scores were judged by them.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from data_schemas.errors import UserError
from simulation.calvin.world import ROBOT, WorldState

TILT = 30.0  # degrees about x and y that a rotation about z may come with
DRIFT = 0.1  # metres that a rotated block may move
AT_REST = 1.0  # m/s and rad/s, per axis, of a stacked block

Criterion = Callable[[WorldState, WorldState], bool]


class Oracle:
    """Judges tasks.

    Args:
        tasks: every task with the name of its criterion and its arguments, `CalvinData.tasks`.

    Raises:
        UserError: an unknown criterion.
    """

    def __init__(self, tasks: Mapping[str, Sequence[Any]]) -> None:
        self._criteria: dict[str, Criterion] = {}
        for task, (name, *arguments) in tasks.items():
            if name not in CRITERIA:
                raise UserError(
                    f"Task {task} is judged by {name!r}, which is unknown: expected one of {', '.join(CRITERIA)}."
                )
            self._criteria[task] = partial(CRITERIA[name], *arguments)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of all tasks."""
        return tuple(self._criteria)

    def achieved(self, task: str, start: WorldState, end: WorldState) -> bool:
        """Whether the world changed from `start` to `end` as the task asks."""
        return self._criteria[task](start, end)


def rotate_object(name: str, degrees: float, start: WorldState, end: WorldState) -> bool:
    """Turned about z by more than `degrees` (positive is counter-clockwise) and lying on something."""
    before, after = start.blocks[name], end.blocks[name]
    turn = Rotation.from_quat(after.quaternion) * Rotation.from_quat(before.quaternion).inv()
    x, y, z = turn.as_euler("xyz", degrees=True)
    if np.linalg.norm(after.position - before.position) > DRIFT or not after.touches - {ROBOT}:
        return False
    far = z > degrees if degrees > 0 else z < degrees
    return bool(far and abs(x) < TILT and abs(y) < TILT)


def push_object(name: str, x: float, y: float, start: WorldState, end: WorldState) -> bool:
    """Moved by more than x metres along x, or y along y; on the same support at both moments."""
    before, after = start.blocks[name], end.blocks[name]
    support = {contact for contact in before.contacts if contact[0] != ROBOT}
    if not support or not support <= after.contacts:
        return False
    way, moved = (x, after.position[0] - before.position[0])
    if not x:
        way, moved = (y, after.position[1] - before.position[1])
    return bool(moved > way if way > 0 else moved < way)


def lift_object(name: str, height: float, body: str, link: str, start: WorldState, end: WorldState) -> bool:
    """Lifted by more than `height` metres off a link; nothing but the robot touches it."""
    before, after = start.blocks[name], end.blocks[name]
    rises = after.position[2] - before.position[2] > height
    return bool(rises and after.touches == {ROBOT} and (body, link) in before.contacts)


def place_object(body: str, link: str, start: WorldState, end: WorldState) -> bool:
    """The block that the robot alone held lies on a link, and the robot has let go."""
    if len(start.robot_touches) != 1:
        return False
    (name,) = start.robot_touches
    if name not in start.blocks or name in end.robot_touches:
        return False
    return start.blocks[name].touches == {ROBOT} and (body, link) in end.blocks[name].contacts


def push_object_into(
    names: str | Sequence[str],
    from_body: str,
    from_link: str,
    body: str,
    link: str,
    start: WorldState,
    end: WorldState,
) -> bool:
    """Any of the blocks lay on one link alone and now touches the other.

    calvin_env means to ask that the robot does not touch it at the end either, but compares a number with pairs, which
    never holds; so it is not asked here.
    """
    return any(
        start.blocks[name].contacts == {(from_body, from_link)} and (body, link) in end.blocks[name].contacts
        for name in ([names] if isinstance(names, str) else names)
    )


def move_door_rel(joint: str, way: float, start: WorldState, end: WorldState) -> bool:
    """A sliding joint moved by more than `way` metres, in its direction."""
    moved = end.doors[joint] - start.doors[joint]
    return moved > way if way > 0 else moved < way


def toggle_light(light: str, before: int, after: int, start: WorldState, end: WorldState) -> bool:
    """A light went from one state to the other."""
    return start.lights[light] == before and end.lights[light] == after


def stack_objects(start: WorldState, end: WorldState) -> bool:
    """A block that touched no block now rests on blocks alone."""
    return any(
        not start.blocks[name].touches & set(start.blocks)
        and _on_blocks_alone(end, name)
        and _at_rest(end, name)
        for name in start.blocks
    )


def unstack_objects(start: WorldState, end: WorldState) -> bool:
    """A block that rested on blocks alone touches none.

    calvin_env looks at the velocities of the *start*, where it checks those of the end for stacking; kept.
    """
    return any(
        _on_blocks_alone(start, name)
        and not end.blocks[name].touches & set(end.blocks)
        and _at_rest(start, name)
        for name in start.blocks
    )


def _on_blocks_alone(world: WorldState, name: str) -> bool:
    touches = world.blocks[name].touches
    return bool(touches) and touches <= set(world.blocks)


def _at_rest(world: WorldState, name: str) -> bool:
    block = world.blocks[name]
    velocities = np.concatenate([block.linear_velocity, block.angular_velocity])
    return bool((np.abs(velocities) < AT_REST).all())


CRITERIA: dict[str, Callable[..., bool]] = {
    criterion.__name__: criterion
    for criterion in (
        rotate_object,
        push_object,
        lift_object,
        place_object,
        push_object_into,
        move_door_rel,
        toggle_light,
        stack_objects,
        unstack_objects,
    )
}
