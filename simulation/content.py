"""What happens in a pair: task, object, colours, target and where everything stands.

The content of pair i depends on (seed, i) only and is shared by its two clips. Arrangements of the table are drawn
from a few layouts that many pairs reuse with a centimetre of jitter, so that a clip cannot be told from others by
its layout alone. A layout is accepted only when hands and grippers can reach everything without touching
neighbours, and a push only when its corridor is free.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from simulation.objects import BLOCKS, COLOURS, FOOTPRINT, TARGETS

TASKS = ("pick_place", "push", "press", "flip")
DIRECTIONS: dict[str, tuple[float, float]] = {
    "toward the camera": (1.0, 0.0),
    "to the right": (0.0, 1.0),
    "to the left": (0.0, -1.0),
}
LAYOUTS = 8
PLACEMENTS = 60  # tries per slot before a layout is begun anew
SLOTS = ("object", "target", "cup", "button", "other")
REGION = {slot: np.array([[0.0, -0.2], [0.26, 0.2]]) for slot in SLOTS}
REGION["cup"] = np.array(
    [[0.0, -0.04], [0.2, 0.2]]
)  # a gripper that turns a cup must reach from its right side
JITTER = 0.010
YAW = 0.25
PUSH_LENGTH = 0.10
PUSH_RUN_UP, PUSH_RUN_OUT, PUSH_HALF_WIDTH = 0.11, 0.16, 0.055
HAND_LENGTH = 0.10  # metres towards the demonstrator that a hand pushing sideways covers

_RADIUS = {
    "object": max(FOOTPRINT[b] for b in BLOCKS),
    "other": max(FOOTPRINT[b] for b in BLOCKS),
    "cup": 0.055,
    "target": max(FOOTPRINT[t] for t in TARGETS),
    "button": FOOTPRINT["button"],
}
_BUSY = {"pick_place": "object", "push": "object", "press": "button", "flip": "cup"}


@dataclass(frozen=True)
class Content:
    """The content of one pair.

    positions: body name -> (x, y) metres; yaws: body name -> radians; colours: body name -> colour name.
    """

    index: int
    task: str
    object: str
    target: str
    direction: str
    layout: int
    positions: dict[str, np.ndarray]
    yaws: dict[str, float]
    colours: dict[str, str]

    @property
    def colour(self) -> str:
        """Colour of the manipulated object."""
        return self.colours[self.object]

    @property
    def instruction(self) -> str:
        """English instruction, true of both clips."""
        target = (self.target, self.colours[self.target])
        return instruction(self.task, self.object, self.colour, target, self.direction)

    @property
    def task_number(self) -> int:
        """Number of this instruction in `catalogue()`, from 1."""
        return catalogue().index(self.instruction) + 1


def instruction(task: str, thing: str, colour: str, target: tuple[str, str], direction: str) -> str:
    """The sentence for one content; `target` is what it is and its colour."""
    return {
        "pick_place": f"pick up the {colour} {thing} and place it on the {target[1]} {target[0]}",
        "push": f"push the {colour} {thing} {direction}",
        "press": f"press the {colour} button",
        "flip": f"flip the {colour} cup upright",
    }[task]


@cache
def catalogue() -> tuple[str, ...]:
    """Every instruction there is, in a fixed order."""
    sentences: dict[str, None] = {}
    for task in TASKS:
        for thing in BLOCKS:
            for colour in COLOURS:
                for target in TARGETS:
                    for target_colour in COLOURS:
                        for direction in DIRECTIONS:
                            if task != "pick_place" or target_colour != colour:
                                sentences[
                                    instruction(task, thing, colour, (target, target_colour), direction)
                                ] = None
    return tuple(sentences)


def corridor_is_free(positions: dict[str, np.ndarray], moved: str, direction: tuple[float, float]) -> bool:
    """Whether nothing else stands where `moved` is pushed or where the pushing hand goes."""
    along = np.asarray(direction)
    across = np.array([-along[1], along[0]])
    for slot, p in positions.items():
        if slot == moved:
            continue
        offset, r = p - positions[moved], _RADIUS[slot]
        beside = abs(offset @ across) < PUSH_HALF_WIDTH + r
        if along[1] and offset[0] < 0:
            beside = -offset[0] < HAND_LENGTH + r
        if -PUSH_RUN_UP - r < offset @ along < PUSH_RUN_OUT + r and beside:
            return False
    end = positions[moved] + along * PUSH_LENGTH
    return bool(np.all(end > (-0.02, -0.22)) and np.all(end < (0.31, 0.26)))


def is_workable(positions: dict[str, np.ndarray], task: str) -> bool:
    """Whether a hand and a gripper can do `task` without touching anything else."""
    slots = list(positions)
    for i, a in enumerate(slots):
        for b in slots[i + 1 :]:
            if np.linalg.norm(positions[a] - positions[b]) < _RADIUS[a] + _RADIUS[b] + 0.008:
                return False
    busy = [_BUSY[task]] + (["target"] if task == "pick_place" else [])
    for slot in busy:
        for other in slots:
            if slot not in slots or other in busy:
                continue
            gap = positions[other] - positions[slot]
            margin = {"object": 0.065, "cup": 0.075, "button": 0.045, "target": 0.06}[slot]
            if other != "target" and np.linalg.norm(gap) < _RADIUS[other] + margin:
                return False
            # The wrist passes 10 cm above the table on the demonstrator's side, where a cup would stand in its way.
            if other == "cup" and -0.17 < gap[0] < 0.02 and abs(gap[1]) < 0.09:
                return False
            # A turned-over hand or gripper lies low beside the cup.
            if (
                task == "flip"
                and -0.20 - _RADIUS[other] < gap[1] < 0
                and -0.11 - _RADIUS[other] < gap[0] < 0.05
            ):
                return False
    return True


def open_directions(positions: dict[str, np.ndarray]) -> list[str]:
    """Directions in which the object can be pushed."""
    return [name for name, d in DIRECTIONS.items() if corridor_is_free(positions, "object", d)]


@cache
def layout(seed: int, number: int) -> dict[str, np.ndarray]:
    """Slot positions of one layout, in which every task can be done and two push directions are free."""
    rng = np.random.default_rng([seed, 101, number])
    names = list(DIRECTIONS)
    directions = [DIRECTIONS[names[number % 3]], DIRECTIONS[names[(number + 1) % 3]]]
    while True:
        positions: dict[str, np.ndarray] = {}
        for slot in SLOTS:
            for _ in range(PLACEMENTS):
                trial = positions | {slot: rng.uniform(*REGION[slot], size=2)}
                if all(corridor_is_free(trial, "object", d) for d in directions) and all(
                    is_workable(trial, task) for task in TASKS
                ):
                    positions = trial
                    break
        if len(positions) == len(SLOTS):
            return positions


def task_of(index: int) -> str:
    """Task of item `index`: they take turns."""
    return TASKS[index % len(TASKS)]


def draw_content(seed: int, index: int, stream: int = 0, redraw: int = 0) -> Content:
    """Content of item `index`.

    `stream` separates paired from unpaired demonstrations; `redraw` gives another content of the same task.
    """
    rng = np.random.default_rng([seed, 102, stream, index, redraw])
    task = task_of(index)
    number = int(rng.integers(LAYOUTS))
    base = layout(seed, number)
    while True:
        slots = {slot: p + rng.normal(0, JITTER, 2) for slot, p in base.items()}
        directions = open_directions(slots)
        if is_workable(slots, task) and directions:
            break
    direction = str(rng.choice(directions))
    block, other = (str(b) for b in rng.permutation(BLOCKS)[:2])
    target = str(rng.choice(TARGETS))
    positions = {
        block: slots["object"],
        other: slots["other"],
        "cup": slots["cup"],
        target: slots["target"],
        "button": slots["button"],
    }
    names = rng.permutation(list(COLOURS))
    colours = {name: str(colour) for name, colour in zip(positions, names, strict=False)}
    yaws = {
        b: float(rng.uniform(-YAW, YAW)) * (0.4 if task == "push" and b == block else 1)
        for b in (block, other)
    }
    thing = {"pick_place": block, "push": block, "press": "button", "flip": "cup"}[task]
    return Content(index, task, thing, target, direction, number, positions, yaws, colours)
