"""Chains against a literal reading of the benchmark's rule, and against its published list."""

import json
from pathlib import Path

import numpy as np
import pytest

from data_schemas.errors import UserError
from simulation.calvin.chains import (
    CATEGORIES,
    LENGTH,
    RULES,
    TASKS,
    category,
    draw_chains,
    initial_conditions,
    next_state,
    official_chains,
)


def literal(state, count: int, seed: int) -> list[tuple[str, ...]]:
    """Five different tasks by `numpy.random.choice`, kept if each can be done and no kind comes twice."""
    random, kept = np.random.RandomState(seed), []
    while len(kept) < count:
        tasks = random.choice(list(TASKS), size=LENGTH, replace=False)
        present, possible = dict(state), True
        for task in tasks:
            open_ways = [
                rule
                for rule in RULES[task]
                if all(
                    present[k] in v if isinstance(v, tuple) else present[k] == v
                    for k, v in rule.condition.items()
                )
            ]
            if len(open_ways) != 1:
                possible = False
                break
            present.update(open_ways[0].effect)
        if possible and len({category(task) for task in tasks}) == LENGTH:
            kept.append(tuple(str(task) for task in tasks))
    return kept


def test_draws_as_numpy_chooses():
    seed = 100
    state = initial_conditions()[seed]
    assert draw_chains(state, 1, seed) == literal(state, 1, seed)


def test_there_are_34_tasks_of_11_kinds_and_192_starts():
    assert (len(TASKS), len(set(CATEGORIES)), len(initial_conditions())) == (34, 11, 192)


def test_a_block_behind_the_door_cannot_be_taken():
    state = {**initial_conditions()[0], "red_block": "slider_left", "slider": "left"}
    assert next_state(state, "lift_red_block_slider") is None
    after = next_state({**state, "slider": "right"}, "lift_red_block_slider")
    assert after is not None
    assert after["grasped"] == 1
    placed = next_state(after, "place_in_slider")
    assert placed is not None
    assert placed["red_block"] == "slider_right"


def test_stacking_is_impossible_where_it_is_open_upon_which_block():
    state = {**initial_conditions()[0], "red_block": "grasped", "grasped": 1}
    both = {**state, "blue_block": "table", "pink_block": "table"}
    assert next_state(both, "stack_block") is None
    one = next_state({**both, "pink_block": "slider_left"}, "stack_block")
    assert one is not None
    assert one["blue_block"] == "stacked_bottom"


@pytest.mark.parametrize("count", [2, pytest.param(1000, marks=pytest.mark.slow)])
def test_equal_to_the_published_list(calvin_data: Path, count: int):
    published = json.loads((calvin_data / "gen_sequences.json").read_text())
    drawn = [[dict(chain.initial), list(chain.subtasks)] for chain in official_chains(count)]
    assert drawn == published[:count]


def test_a_shorter_list_is_not_the_beginning_of_the_longer_one():
    few = official_chains(8, total=8)
    assert len(few) == 8
    assert len({tuple(chain.initial.items()) for chain in few}) == 8
    assert few[:3] == official_chains(3, total=8)
    assert few != official_chains(8)


def test_a_number_of_chains_that_cannot_be_had_is_refused():
    for count in (0, 1001):
        with pytest.raises(UserError, match="1 to 1000"):
            official_chains(count)
