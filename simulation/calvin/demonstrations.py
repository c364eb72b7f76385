"""Scripted demonstrations in CALVIN's scenes, for training an action head: scenes A, B and C, to be evaluated in D.

Trial i of a task follows from (seed, task, i) alone: its scene, its start, and the tasks that have to come before it, as
lifting has before stacking. The expert does the trial without pictures; where it succeeds, the same actions are carried
out again with pictures, which gives the same motion. The layout is that of `data_schemas.episodes`.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, cast

import numpy as np

from data_schemas.episodes import COLLECTION_FILE, EPISODES, Collection
from data_schemas.errors import UserError
from data_schemas.whole_files import replacing
from simulation.calvin.chains import TASKS, Condition, initial_conditions, is_possible
from simulation.calvin.data import SCENES, CalvinData
from simulation.calvin.environment import (
    CONTROL_RATE,
    INTERFACE,
    SUBTASK_LIMIT,
    CalvinEnvironment,
    Observation,
)
from simulation.calvin.expert import Expert
from simulation.calvin.starts import ROBOT_START, condition_start
from simulation.robot_demonstrations import HOPELESS, Recording, write_episode

logger = logging.getLogger(__name__)

LICENSE = "scripted motions in CALVIN's scenes (MIT, (c) 2021 Oier Mees)"
PREPARATIONS = 2  # tasks that may come before the wanted one
FAILURES_FILE = "failures.json"


@dataclass(frozen=True)
class CalvinDemonstrationsConfig:
    """What to generate: folder, CALVIN's data, successful episodes a task, seed, scenes taken in turn, and tasks."""

    out: Path
    data: Path | None
    per_task: int
    seed: int = 0
    scenes: str = "ABC"
    tasks: tuple[str, ...] = TASKS

    def collection(self) -> Collection:
        """What is written to `demonstrations.json`, and must agree with an earlier run in the folder."""
        return Collection(
            robot=f"panda in CALVIN {self.scenes}",
            **INTERFACE.model_dump(),
            size=200,
            seed=self.seed,
            appearance={},
            license=LICENSE,
        )


@dataclass(frozen=True)
class CalvinTrial:
    """One start: the state, the tasks that prepare it, and the task to be shown."""

    task: str
    index: int
    scene: str
    state: np.ndarray
    preparations: tuple[str, ...]


def draw_trial(task: str, index: int, seed: int, environments: dict[str, CalvinEnvironment]) -> CalvinTrial:
    """Trial `index` of a task; scenes take turns."""
    random = np.random.default_rng([seed, 401, TASKS.index(task), index])
    scene = list(environments)[index % len(environments)]
    conditions = initial_conditions()
    for number in random.permutation(len(conditions)):
        preparations = find_preparations(conditions[number], task, random)
        if preparations is not None:
            state = condition_start(environments[scene].settings, conditions[number], random)
            return CalvinTrial(task, index, scene, state, preparations)
    raise RuntimeError(f"{task} is possible from no start")


def find_preparations(condition: Condition, task: str, random: np.random.Generator) -> tuple[str, ...] | None:
    """As few tasks as possible that lead from a start to one from which a task can be done, at random among equals."""
    frontier: list[tuple[str, ...]] = [()]
    for _ in range(PREPARATIONS + 1):
        enough = [tasks for tasks in frontier if is_possible(condition, (*tasks, task))]
        if enough:
            return enough[random.integers(len(enough))]
        frontier = [
            (*tasks, one) for tasks in frontier for one in TASKS if is_possible(condition, (*tasks, one))
        ]
    return None


def perform(environment: CalvinEnvironment, task: str) -> list[np.ndarray] | None:
    """Actions by which the expert does a task, or none where it fails."""
    environment.instruct(task)
    expert, actions = Expert(environment, task).actions(), []
    for _ in range(SUBTASK_LIMIT):
        actions.append(next(expert))
        if environment.step(actions[-1])[1]:
            return actions
    return None


def record(environment: CalvinEnvironment, trial: CalvinTrial) -> Recording | None:
    """Let the expert do a trial, and do it again with pictures; none where it fails."""
    environment.place(np.array(ROBOT_START), trial.state)
    performed = [perform(environment, task) for task in (*trial.preparations, trial.task)]
    before, actions = performed[:-1], performed[-1]
    if actions is None or None in before:
        return None
    environment.place(np.array(ROBOT_START), trial.state)
    for task, motion in zip(trial.preparations, before, strict=True):
        environment.instruct(task)
        for action in motion or ():
            environment.step(action)
    observations: list[Observation] = [_seen(environment.instruct(trial.task))]
    success = False
    for action in actions:
        observation, success = environment.step(action)
        if not success:
            observations.append(_seen(observation))
    return Recording(cast(Any, observations), np.array(actions), success) if success else None


def generate_calvin_demonstrations(
    config: CalvinDemonstrationsConfig, progress: Callable[[int, int], None] | None = None
) -> dict[str, float]:
    """Generate what is missing in `config.out`.

    Args:
        progress: called with (episodes done, episodes in all) after every episode.

    Returns:
        The expert's share of successful trials, by task.

    Raises:
        UserError: no data, an unknown scene or task, or a folder that belongs to something else.
        RuntimeError: the expert failed `HOPELESS` times in a row.
    """
    failures = _open(config)
    environments = {scene: CalvinEnvironment(config.data, scene) for scene in config.scenes}
    rates, done = {}, 0
    for task in config.tasks:
        kept, in_a_row = 0, 0
        for index in count():
            name = f"{task}_{index:05d}"
            if name not in failures and not (config.out / EPISODES / name).exists():
                trial = draw_trial(task, index, config.seed, environments)
                recording = record(environments[trial.scene], trial)
                if recording:
                    write_episode(config.out, name, cast(Any, trial), recording, CONTROL_RATE)
                else:
                    logger.info("%s: the expert failed in scene %s", name, trial.scene)
                    failures.append(name)
                    with replacing(config.out / FAILURES_FILE) as draft:
                        draft.write_text(json.dumps(failures, indent=1))
            in_a_row = in_a_row + 1 if name in failures else 0
            if in_a_row == HOPELESS:
                raise RuntimeError(f"{task}: the expert failed {HOPELESS} times in a row")
            if name not in failures:
                kept, done = kept + 1, done + 1
                if progress:
                    progress(done, config.per_task * len(config.tasks))
            if kept == config.per_task:
                rates[task] = kept / (index + 1)
                break
    for environment in environments.values():
        environment.close()
    return rates


def _seen(observation: Observation) -> Observation:
    """The same with its pictures, which can be rendered now only."""
    _ = observation.third_view, observation.wrist
    return observation


def _open(config: CalvinDemonstrationsConfig) -> list[str]:
    """Prepare the folder; returns the trials in which the expert is known to fail."""
    if config.per_task < 1:
        raise UserError(f"{config.per_task} episodes a task asked for: expected at least 1.")
    for asked, known in ((config.scenes, SCENES), (config.tasks, TASKS)):
        if unknown := [one for one in asked if one not in known]:
            raise UserError(f"Unknown {', '.join(unknown)}: choose of {', '.join(known)}.")
    CalvinData.open(config.data)  # refused before a folder is made
    out, collection = config.out, config.collection()
    file = out / COLLECTION_FILE
    if file.exists() and Collection.model_validate_json(file.read_text()) != collection:
        raise UserError(
            f"{out} holds demonstrations of another robot, scenes or seed: choose another folder."
        )
    if not file.exists() and out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty and holds no {COLLECTION_FILE}: choose a new or empty folder.")
    (out / EPISODES).mkdir(parents=True, exist_ok=True)
    with replacing(file) as draft:
        draft.write_text(collection.model_dump_json(indent=1))
    failures = out / FAILURES_FILE
    return json.loads(failures.read_text()) if failures.exists() else []
