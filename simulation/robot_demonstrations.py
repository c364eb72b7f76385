"""Generate demonstrations with actions: the expert's successful trials, with both cameras' videos.

Episode `<task>_<trial>` follows from (seed, task, trial) alone. Trials in which the expert fails are left out and the
next one takes their place, so the first N episodes a task are the same however many are asked for. Frames are rendered
only after an episode has succeeded.
"""

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path

import numpy as np

from data_schemas.episodes import (
    COLLECTION_FILE,
    EPISODE_FILE,
    EPISODES,
    STEPS_FILE,
    VIDEOS,
    Collection,
    EpisodeInfo,
)
from data_schemas.errors import UserError
from data_schemas.whole_files import replacing
from simulation.appearance import Appearance
from simulation.contact_arm import ROBOTS
from simulation.content import TASKS
from simulation.environment import (
    EPISODE_LIMIT,
    INTERFACE,
    RATE,
    Observation,
    TabletopEnvironment,
)
from simulation.expert import Expert
from simulation.rendering import check_size
from simulation.rh20t_writer import LICENSE, write_video
from simulation.trials import Trial

logger = logging.getLogger(__name__)

FAILURES_FILE = "failures.json"
MAX_PER_TASK = 10_000
HOPELESS = 20  # failures in a row after which something is wrong


@dataclass(frozen=True)
class DemonstrationsConfig:
    """What to generate: folder, successful episodes a task, seed, robot, picture size, look and tasks."""

    out: Path
    per_task: int
    seed: int = 0
    robot: str = "xarm7_gripper"
    size: int = 224
    tasks: tuple[str, ...] = TASKS
    appearance: Appearance = field(default_factory=Appearance)

    def collection(self) -> Collection:
        """What is written to `demonstrations.json`, and must agree with an earlier run in the folder."""
        return Collection(
            robot=self.robot,
            **INTERFACE.model_dump(),
            size=self.size,
            seed=self.seed,
            appearance=asdict(self.appearance),
            license=LICENSE,
        )


@dataclass(frozen=True)
class Recording:
    """One trial: observations (T), each with the action that followed it (T, A)."""

    observations: list[Observation]
    actions: np.ndarray
    success: bool


def record_trial(environment: TabletopEnvironment, trial: Trial) -> Recording:
    """Let the expert act in a trial until it is over."""
    observations, actions, success = [environment.reset(trial)], [], False
    for _, action in zip(range(EPISODE_LIMIT), Expert(environment, trial).actions(), strict=False):
        actions.append(action)
        observation, done, success = environment.step(action)
        if done:
            break
        observations.append(observation)
    return Recording(observations, np.array(actions), success)


def write_episode(root: Path, name: str, trial: Trial, recording: Recording, rate: float) -> None:
    """Write one episode at `rate` steps a second; its folder appears only when it is complete."""
    observations = recording.observations
    target, part = root / EPISODES / name, root / EPISODES / f".{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for camera in VIDEOS:
        write_video(part / f"{camera}.mp4", np.array([getattr(o, camera) for o in observations]), rate)
    np.savez(
        part / STEPS_FILE,
        actions=recording.actions,
        proprioception=np.array([o.proprioception for o in observations]),
    )
    info = EpisodeInfo(
        name=name,
        task=trial.task,
        trial=trial.index,
        instruction=observations[0].instruction,
        steps=len(observations),
        success=recording.success,
    )
    (part / EPISODE_FILE).write_text(info.model_dump_json(indent=1))
    os.replace(part, target)


def _open(config: DemonstrationsConfig) -> dict[str, str]:
    """Prepare the folder; returns the trials in which the expert is known to fail."""
    if not 1 <= config.per_task <= MAX_PER_TASK:
        raise UserError(f"{config.per_task} episodes a task asked for; expected 1 to {MAX_PER_TASK}.")
    if config.robot not in ROBOTS:
        raise UserError(f"Unknown robot {config.robot!r}: choose one of {', '.join(ROBOTS)}.")
    check_size(config.size)
    for task in config.tasks:
        Trial(task, 0, config.seed)  # refuses an unknown task or a negative seed before the folder is claimed
    out, collection = config.out, config.collection()
    file = out / COLLECTION_FILE
    if file.exists():
        earlier = Collection.model_validate_json(file.read_text())
        for key, wanted in collection.model_dump().items():
            if (found := getattr(earlier, key)) != wanted:
                raise UserError(
                    f"{out} holds demonstrations with {key}={found!r}, asked for {wanted!r}: choose another folder."
                )
    elif out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty and holds no {COLLECTION_FILE}: choose a new or empty folder.")
    (out / EPISODES).mkdir(parents=True, exist_ok=True)
    with replacing(file) as draft:
        draft.write_text(collection.model_dump_json(indent=1))
    failures = out / FAILURES_FILE
    return json.loads(failures.read_text()) if failures.exists() else {}


def generate_demonstrations(
    config: DemonstrationsConfig, progress: Callable[[int, int], None] | None = None
) -> dict[str, float]:
    """Generate what is missing in `config.out`.

    Args:
        config: what to generate.
        progress: called with (episodes done, episodes in all) after every episode.

    Returns:
        The expert's share of successful trials, by task.

    Raises:
        UserError: arguments that cannot work, or a folder that belongs to something else.
        RuntimeError: the expert failed `HOPELESS` times in a row.
    """
    failures = _open(config)
    environment = TabletopEnvironment(config.robot, config.size, config.appearance)
    rates, done = {}, 0
    try:
        for task in config.tasks:
            kept, in_a_row = 0, 0
            for index in count():
                name, trial = f"{task}_{index:05d}", Trial(task, index, config.seed, "demonstrations")
                if name not in failures and not (config.out / EPISODES / name).exists():
                    recording = record_trial(environment, trial)
                    if recording.success:
                        write_episode(config.out, name, trial, recording, RATE)
                    else:
                        logger.info("%s: the expert did not %s", name, environment.content.instruction)
                        failures[name] = environment.content.instruction
                        with replacing(config.out / FAILURES_FILE) as draft:
                            draft.write_text(json.dumps(failures, indent=1))
                in_a_row = in_a_row + 1 if name in failures else 0
                kept += name not in failures
                if in_a_row == HOPELESS:
                    raise RuntimeError(f"{task}: the expert failed {HOPELESS} times in a row")
                if progress and name not in failures:
                    done += 1
                    progress(done, config.per_task * len(config.tasks))
                if kept == config.per_task:
                    rates[task] = kept / (index + 1)
                    break
    finally:
        environment.close()
    return rates
