"""Evaluation chains: five tasks in a row that make sense from a start, drawn as CALVIN draws them.

A small symbolic world says when a task may come: where each block lies, what is open, what is held. Chains are drawn by
rejection from numpy's legacy generator with CALVIN's seeds, so the list is CALVIN's own, chain by chain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import permutations, product

import numpy as np

from data_schemas.errors import UserError

COLORS = ("red", "blue", "pink")
LENGTH = 5  # tasks in a chain
OFFICIAL_CHAINS = 1000
Value = str | int
Condition = Mapping[str, Value]
"""Symbolic state: led, lightbulb, slider, drawer, red_block, blue_block, pink_block, grasped."""


@dataclass(frozen=True)
class Chain:
    """A start and the tasks to be done from it, in order."""

    initial: Condition
    subtasks: tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """A task may begin where all values of `condition` hold (any of several, if a tuple), and sets those of `effect`."""

    condition: Mapping[str, Value | tuple[Value, ...]]
    effect: Mapping[str, Value]

    def applies(self, state: Condition) -> bool:
        """Whether the task may begin in a state."""
        return all(
            state[name] in value if isinstance(value, tuple) else state[name] == value
            for name, value in self.condition.items()
        )


def _rules() -> dict[str, list[Rule]]:
    """Every task's rules. The order of tasks matters: chains are drawn by their number."""
    blocks = [f"{color}_block" for color in COLORS]
    free, held = {"grasped": 0}, {"grasped": 1}
    rules: dict[str, list[Rule]] = {}
    for verb in ("rotate", "push"):
        for block in blocks:
            for side in ("right", "left"):
                rules[f"{verb}_{block}_{side}"] = [Rule({block: "table"} | free, {block: "table"})]
    for name, thing, before, after in (
        ("move_slider_left", "slider", "right", "left"),
        ("move_slider_right", "slider", "left", "right"),
        ("open_drawer", "drawer", "closed", "open"),
        ("close_drawer", "drawer", "open", "closed"),
    ):
        rules[name] = [Rule({thing: before} | free, {thing: after})]
    for block in blocks:
        taken = {block: "grasped"} | held
        rules[f"lift_{block}_table"] = [Rule({block: "table"} | free, taken)]
        rules[f"lift_{block}_slider"] = [
            # The door covers one half of the cabinet; what lies in the other can be reached.
            Rule({block: f"slider_{half}", "slider": door} | free, taken)
            for half, door in (("left", "right"), ("right", "left"))
        ]
        rules[f"lift_{block}_drawer"] = [Rule({block: "drawer", "drawer": "open"} | free, taken)]
    rules["place_in_slider"] = [
        Rule({block: "grasped", "slider": side} | held, {block: f"slider_{side}"} | free)
        for block in blocks
        for side in ("right", "left")
    ]
    rules["place_in_drawer"] = [
        Rule({block: "grasped", "drawer": "open"} | held, {block: "drawer"} | free) for block in blocks
    ]
    on, under = "stacked_top", "stacked_bottom"
    rules["stack_block"] = [
        Rule({a: "grasped", b: "table"} | held, {a: on, b: under} | free) for a, b in permutations(blocks, 2)
    ]
    rules["unstack_block"] = [
        Rule({a: on, b: under} | free, {a: "table", b: "table"}) for a, b in permutations(blocks, 2)
    ]
    for light in ("lightbulb", "led"):
        for name, before in (("on", 0), ("off", 1)):
            rules[f"turn_{name}_{light}"] = [Rule({light: before} | free, {light: 1 - before})]
    cabinet = ("slider_right", "slider_left")
    rules["push_into_drawer"] = [
        Rule(
            {block: "table", "drawer": "open"} | {b: cabinet for b in blocks if b != block} | free,
            {block: "drawer"} | free,
        )
        for block in blocks
    ]
    return rules


RULES = _rules()
TASKS = tuple(RULES)


def category(task: str) -> str:
    """The kind of a task; no kind comes twice in a chain."""
    if task.startswith(("rotate", "push_")) and task != "push_into_drawer":
        return "move on the table"
    if task.startswith("lift"):
        return f"lift from the {task.rsplit('_', 1)[1]}"
    if task.startswith("turn"):
        return "light"
    if task.startswith("place"):
        return "place"
    if "_slider_" in task:
        return "slider"
    return "drawer" if task in {"open_drawer", "close_drawer"} else task


CATEGORIES = tuple(category(task) for task in TASKS)


def next_state(state: Condition, task: str) -> Condition | None:
    """State after a task, or none if it cannot be done or it is open what it would do."""
    applying = [rule for rule in RULES[task] if rule.applies(state)]
    return {**state, **applying[0].effect} if len(applying) == 1 else None


def initial_conditions() -> list[Condition]:
    """All starts: one or two blocks on the table, at most one in each half of the cabinet."""
    places = ("table", "slider_right", "slider_left")
    values = {
        "led": (0, 1),
        "lightbulb": (0, 1),
        "slider": ("right", "left"),
        "drawer": ("closed", "open"),
        **{f"{color}_block": places for color in COLORS},
        "grasped": (0,),
    }
    return [
        dict(zip(values, combination, strict=True))
        for combination in product(*values.values())
        if combination.count("table") in {1, 2}
        and combination.count("slider_right") < 2
        and combination.count("slider_left") < 2
    ]


def is_possible(state: Condition, tasks: tuple[str, ...]) -> bool:
    """Whether tasks can be done one after another."""
    for task in tasks:
        after = next_state(state, task)
        if after is None:
            return False
        state = after
    return True


def draw_chains(state: Condition, count: int, seed: int) -> list[tuple[str, ...]]:
    """Draw chains from one start.

    `permutation(n)[:k]` is what `numpy.random.choice(tasks, k, replace=False)` draws.
    """
    random, chains = np.random.RandomState(seed), []
    first = {i for i, task in enumerate(TASKS) if next_state(state, task) is not None}
    while len(chains) < count:
        numbers = random.permutation(len(TASKS))[:LENGTH].tolist()
        if numbers[0] not in first or len({CATEGORIES[i] for i in numbers}) < LENGTH:
            continue
        tasks = tuple(TASKS[i] for i in numbers)
        if is_possible(state, tasks):
            chains.append(tasks)
    return chains


def official_chains(count: int = OFFICIAL_CHAINS, total: int = OFFICIAL_CHAINS) -> tuple[Chain, ...]:
    """The first `count` of CALVIN's evaluation chains. Another total gives other chains, not fewer of the same.

    Only what is asked for is drawn: fifty chains take a quarter of the time of the thousand.

    Raises:
        UserError: no positive number, or more than there are.
    """
    if not 1 <= count <= total:
        raise UserError(f"{count} chains asked for: expected 1 to {total}.")
    starts = initial_conditions()
    shares = [len(part) for part in np.array_split(range(total), len(starts))]
    places = [(seed, i) for seed, share in enumerate(shares) for i in range(share)]
    np.random.RandomState(0).shuffle(places)
    return tuple(Chain(starts[seed], _chains_of(seed, shares[seed])[i]) for seed, i in places[:count])


@cache
def _chains_of(seed: int, share: int) -> list[tuple[str, ...]]:
    return draw_chains(initial_conditions()[seed], share, seed)
