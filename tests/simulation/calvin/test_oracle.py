"""Every criterion on worlds made by hand, each next to one that misses by a little."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data_schemas.errors import UserError
from simulation.calvin.oracle import Oracle
from simulation.calvin.world import BlockState, WorldState
from tests.simulation.calvin.made_up import tasks

ON_TABLE, IN_DRAWER = ("table", "base_link"), ("table", "drawer_link")
LEFT, RIGHT = ("robot", "left"), ("robot", "right")
GRIP = (LEFT, RIGHT)


def block(x: float = 0.0, z: float = 0.46, contacts: tuple = (ON_TABLE,), **more) -> BlockState:
    state = BlockState(
        np.array([x, -0.1, z]), np.array([0.0, 0, 0, 1]), np.zeros(3), np.zeros(3), frozenset(contacts)
    )
    return replace(state, **more)


def world(red: BlockState | None = None, blue: BlockState | None = None, **more) -> WorldState:
    touching = frozenset(
        name
        for name, one in (("block_red", red), ("block_blue", blue))
        if one is not None and "robot" in one.touches
    )
    state = WorldState(
        blocks={
            "block_red": red or block(),
            "block_blue": blue or block(x=0.2),
            "block_pink": block(x=-0.2),
        },
        robot_touches=touching,
        doors={"base__slide": 0.0, "base__drawer": 0.0},
        lights={"lightbulb": 0, "led": 0},
    )
    return replace(state, **more)


def turned(degrees: float, axis: str = "z", **more) -> BlockState:
    return block(quaternion=Rotation.from_euler(axis, degrees, degrees=True).as_quat(), **more)


HELD = block(z=0.55, contacts=GRIP)
STACKED = block(z=0.5, contacts=(("block_blue", "base_link"),))
BLUE_UNDER = block(x=0.2, contacts=(ON_TABLE, ("block_red", "base_link")))

CASES = {
    "rotate_red_block_left": [
        (world(), world(turned(70)), True),
        (world(), world(turned(50)), False),
        (world(), world(turned(-70)), False),
        (world(), world(turned(70, x=0.12)), False),
        (world(), world(turned(70, contacts=GRIP)), False),
        (world(), world(turned(70, contacts=(*GRIP, ON_TABLE))), True),
        (world(turned(40, "x")), world(turned(100, "x")), False),
    ],
    "rotate_red_block_right": [(world(), world(turned(-61)), True), (world(), world(turned(61)), False)],
    "push_red_block_right": [
        (world(), world(block(x=0.11)), True),
        (world(), world(block(x=0.09)), False),
        (world(), world(block(x=0.11, contacts=(IN_DRAWER,))), False),
        (world(), world(block(x=0.11, contacts=(ON_TABLE, *GRIP))), True),
        (world(block(contacts=GRIP)), world(block(x=0.11)), False),
    ],
    "push_red_block_left": [(world(), world(block(x=-0.11)), True), (world(), world(block(x=0.11)), False)],
    "lift_red_block_table": [
        (world(), world(HELD), True),
        (world(), world(block(z=0.50, contacts=GRIP)), False),
        (world(), world(block(z=0.55, contacts=(*GRIP, ON_TABLE))), False),
        (world(block(contacts=(IN_DRAWER,))), world(HELD), False),
    ],
    "place_in_drawer": [
        (world(HELD), world(block(contacts=(IN_DRAWER,))), True),
        (world(HELD), world(block(contacts=(IN_DRAWER, LEFT))), False),
        (world(HELD), world(block()), False),
        (world(), world(block(contacts=(IN_DRAWER,))), False),
    ],
    "push_into_drawer": [
        (world(), world(block(z=0.36, contacts=(IN_DRAWER,))), True),
        (world(), world(blue=block(contacts=(IN_DRAWER,))), True),
        (world(HELD), world(block(contacts=(IN_DRAWER,))), False),
    ],
    "open_drawer": [
        (world(), world(doors={"base__slide": 0.0, "base__drawer": 0.13}), True),
        (world(), world(doors={"base__slide": 0.2, "base__drawer": 0.11}), False),
    ],
    "close_drawer": [
        (world(doors={"base__slide": 0, "base__drawer": 0.2}), world(), True),
        (world(doors={"base__slide": 0, "base__drawer": 0.11}), world(), False),
    ],
    "turn_on_led": [
        (world(), world(lights={"led": 1, "lightbulb": 0}), True),
        (world(), world(lights={"led": 0, "lightbulb": 1}), False),
    ],
    "stack_block": [
        (world(HELD), world(STACKED, BLUE_UNDER), True),
        (world(HELD), world(replace(STACKED, contacts=STACKED.contacts | {LEFT}), BLUE_UNDER), False),
        (world(HELD), world(replace(STACKED, linear_velocity=np.array([0, 0, -1.2])), BLUE_UNDER), False),
        (world(STACKED, BLUE_UNDER), world(STACKED, BLUE_UNDER), False),
    ],
    "unstack_block": [
        (world(STACKED, BLUE_UNDER), world(HELD), True),
        (world(STACKED, BLUE_UNDER), world(STACKED, BLUE_UNDER), False),
        (world(), world(HELD), False),
    ],
}


@pytest.mark.parametrize(
    ("task", "number"), [(task, i) for task, cases in CASES.items() for i in range(len(cases))]
)
def test_criteria(task: str, number: int):
    start, end, expected = CASES[task][number]
    assert Oracle(tasks()).achieved(task, start, end) is expected


def test_an_unknown_criterion_is_named():
    with pytest.raises(UserError, match="'juggle'"):
        Oracle({"juggle_blocks": ["juggle", 3]})
