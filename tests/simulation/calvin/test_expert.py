"""Scripted motions and the oracle: in a made-up scene always, in CALVIN's four scenes where its data are."""

from pathlib import Path

import numpy as np
import pytest

from simulation.calvin.demonstrations import perform
from simulation.calvin.environment import CalvinEnvironment
from simulation.calvin.motions import shift
from simulation.calvin.starts import DRAWER_OPEN, ROBOT_START, SLIDER_LEFT, SWITCH_ON

MADE_UP = (
    ("open_drawer", "lift_red_block_table", "place_in_drawer", "close_drawer"),
    ("lift_red_block_table", "stack_block", "unstack_block"),
    ("push_red_block_right", "push_red_block_left", "rotate_blue_block_left"),
    ("turn_on_led", "turn_off_led", "turn_on_lightbulb"),
    ("move_slider_left", "move_slider_right"),
    ("push_into_drawer",),
)
EVERYWHERE = (
    *("open_drawer", "close_drawer", "move_slider_left", "move_slider_right"),
    *("turn_on_led", "turn_off_led", "turn_on_lightbulb", "turn_off_lightbulb"),
    *("lift_red_block_table", "rotate_blue_block_left", "push_into_drawer", "lift_pink_block_slider"),
)


def start_for(environment: CalvinEnvironment, task: str) -> np.ndarray:
    """A scene from which a task can be done: two blocks on the table, the pink one in the cabinet's open half."""
    surfaces = environment.settings.surfaces
    state = np.zeros(24)
    state[0] = SLIDER_LEFT * (task == "move_slider_right")
    state[1] = DRAWER_OPEN * (task in {"close_drawer", "push_into_drawer"})
    state[4], state[5] = task == "turn_off_lightbulb", task == "turn_off_led"
    state[3] = SWITCH_ON * state[4]
    low, high = surfaces["table"]
    middle = (low + high) / 2
    places = {
        "block_red": middle - shift(x=0.07),
        "block_blue": middle + shift(x=0.07),
        "block_pink": surfaces["slider_left"].mean(0),
    }
    for i, name in enumerate(environment.scene.blocks):
        state[6 + 6 * i : 9 + 6 * i] = places[name]
        state[11 + 6 * i] = np.pi / 2
    return state


def steps_of(environment: CalvinEnvironment, *tasks: str) -> list[int | None]:
    """Control steps until the oracle says that the expert has done each of some tasks in a row; none where it fails."""
    environment.place(np.array(ROBOT_START), start_for(environment, tasks[0]))
    performed = [perform(environment, task) for task in tasks]
    return [len(actions) if actions else None for actions in performed]


@pytest.mark.parametrize("tasks", MADE_UP, ids=lambda tasks: tasks[0])
def test_expert_in_a_made_up_scene(environment: CalvinEnvironment, tasks: tuple[str, ...]):
    assert all(steps and steps > 10 for steps in steps_of(environment, *tasks))


def test_nothing_is_done_by_standing_still(environment: CalvinEnvironment):
    environment.place(np.array(ROBOT_START), start_for(environment, "open_drawer"))
    for task in ("open_drawer", "turn_on_led", "move_slider_left"):
        environment.instruct(task)
        still = [environment.step(np.array([0, 0, 0, 0, 0, 0, 1.0]))[1] for _ in range(15)]
        assert not any(still), task


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["A", "B", "C", "D"])
def test_expert_in_calvin_s_scenes(calvin_data: Path, scene: str):
    environment = CalvinEnvironment(calvin_data, scene)
    done = {task: steps_of(environment, task)[0] for task in EVERYWHERE}
    environment.close()
    assert all(done.values()), [task for task, steps in done.items() if not steps]
