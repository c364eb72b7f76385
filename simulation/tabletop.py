"""Generate the tabletop data set: paired human and robot demonstrations, redrawn until they succeed.

Pair i depends on (seed, i) only, so a larger data set begins with the smaller one and a killed run continues where
it stopped. Items are spread over processes where asked: the software renderer uses all cores by itself, physics one.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from data_schemas.errors import UserError
from data_schemas.whole_files import replacing
from data_schemas.worker_process import begin_worker_process
from simulation.appearance import Appearance, apply, dress
from simulation.content import TASKS, Content, draw_content, task_of
from simulation.embodiment import Embodiment
from simulation.ground_truth import correspondence
from simulation.hand_shape import load_hands
from simulation.human import human
from simulation.recording import Clip, record
from simulation.rendering import Renderer, check_size
from simulation.rh20t_writer import scene_name, write_descriptions, write_scene
from simulation.robot import ROBOTS, robot
from simulation.rollout import Rollout, reset, roll_out

logger = logging.getLogger(__name__)

STATE_FILE = "simulation.json"
MAX_ATTEMPTS = 5  # of one content; then another content of the same task is drawn
MAX_CONTENTS = 20
SUBJECTS = 20
FIRST_SCENE = {"paired": 1, "human": 6001, "robot": 8001}  # scene numbers have four digits
CAPACITY = {"paired": 6000, "human": 2000, "robot": 1999}
LOOK = {"human": 15, "robot": 16}  # random streams of what clips look like


@dataclass(frozen=True)
class TabletopConfig:
    """What to generate.

    Attributes:
        out: folder of the data set.
        pairs, unpaired_human, unpaired_robot: how many demonstrations.
        tasks: which ones; those of fewer tasks are among those of all.
        seed: everything follows from it.
        robot: `xarm7_gripper`, `xarm7_inspire` or `panda`.
        size: width and height of the videos, pixels, even.
        rate: frames per second, or None for an irregular 8 to 10 Hz.
        pace: multiplies every clip's duration.
        own_looks: the two clips of a pair draw table, wall, lamp, clutter and camera each on their own, not together.
        overwrite: delete an earlier simulation in `out` first.
        appearance: strengths of the variation of the look.
    """

    out: Path
    pairs: int = 0
    seed: int = 0
    robot: str = "xarm7_gripper"
    unpaired_human: int = 0
    unpaired_robot: int = 0
    size: int = 224
    rate: float | None = None
    pace: float = 1.0
    own_looks: bool = False
    overwrite: bool = False
    appearance: Appearance = field(default_factory=Appearance)
    tasks: tuple[str, ...] = TASKS

    @property
    def counts(self) -> dict[str, int]:
        """Demonstrations by kind of item."""
        return {"paired": self.pairs, "human": self.unpaired_human, "robot": self.unpaired_robot}

    def identity(self) -> dict[str, object]:
        """What must agree between a data set and a run that continues it, be it with more demonstrations or tasks."""
        skip = ("out", "pairs", "unpaired_human", "unpaired_robot", "overwrite", "tasks")
        return {k: v for k, v in asdict(self).items() if k not in skip}


@dataclass(frozen=True)
class Job:
    """One item to generate: a pair or a single demonstration."""

    kind: str  # `paired`, `human` or `robot`
    index: int

    @property
    def scene(self) -> int:
        """Scene number."""
        return FIRST_SCENE[self.kind] + self.index

    @property
    def embodiments(self) -> tuple[str, ...]:
        """Clips to make."""
        return ("human", "robot") if self.kind == "paired" else (self.kind,)


def wanted(config: TabletopConfig) -> list[Job]:
    """All items of a configuration, in the order of their making.

    Raises:
        UserError: an unknown task, or more demonstrations than there are scene numbers.
    """
    for task in config.tasks:
        if task not in TASKS:
            raise UserError(f"Unknown task {task!r}: choose one of {', '.join(TASKS)}.")
    jobs = []
    for kind, count in config.counts.items():
        capacity = [i for i in range(CAPACITY[kind]) if task_of(i) in config.tasks]
        if not 0 <= count <= len(capacity):
            raise UserError(f"{count} {kind} demonstrations asked for; expected 0 to {len(capacity)}.")
        jobs += [Job(kind, index) for index in capacity[:count]]
    return jobs


def check(config: TabletopConfig) -> None:
    """Raise `UserError` for arguments that cannot work."""
    if not wanted(config):
        raise UserError("Nothing to generate: give --pairs, --unpaired-human or --unpaired-robot.")
    if config.robot not in ROBOTS:
        raise UserError(f"Unknown robot {config.robot!r}: choose one of {', '.join(ROBOTS)}.")
    check_size(config.size)
    if config.seed < 0:
        raise UserError(f"Seed {config.seed}: expected no negative number.")
    if config.rate is not None and not 1 <= config.rate <= 60:
        raise UserError(f"Frame rate {config.rate:g}: expected 1 to 60 frames per second.")


def open_state(config: TabletopConfig) -> dict:
    """The state of an earlier run in `config.out`, or a fresh one.

    Raises:
        UserError: the folder holds something else, or a simulation with other settings.
    """
    file = config.out / STATE_FILE
    identity = json.loads(json.dumps(config.identity()))
    if file.exists() and config.overwrite:
        shutil.rmtree(config.out)
    if file.exists():
        state = json.loads(file.read_text())
        earlier = {"own_looks": False} | state["config"]  # which older states do not name
        for key, value in identity.items():
            if earlier.get(key) != value:
                raise UserError(
                    f"{config.out} holds a simulation with {key}={earlier.get(key)!r}, asked for {value!r}: "
                    "choose another folder or --overwrite."
                )
        return state
    if config.out.exists() and (not config.out.is_dir() or any(config.out.iterdir())):
        raise UserError(f"{config.out} is not empty and holds no {STATE_FILE}: choose a new or empty folder.")
    config.out.mkdir(parents=True, exist_ok=True)
    return {"config": identity, "items": {}}


def save_state(config: TabletopConfig, state: dict) -> None:
    """Write `simulation.json` with totals over all items."""
    state["summary"] = summarize(state["items"])
    with replacing(config.out / STATE_FILE) as draft:
        draft.write_text(json.dumps(state, indent=1))


def summarize(items: dict[str, dict]) -> dict:
    """Counts, mean seconds and, per task and embodiment, the share of demonstrations whose first attempt succeeded."""
    attempts: dict[str, list[int]] = {}
    for item in items.values():
        for embodiment, count in item["attempts"].items():
            attempts.setdefault(f"{item['task']}/{embodiment}", []).append(count)
    seconds = [item["seconds"] for item in items.values() if item["kind"] == "paired"]
    return {
        "items": len(items),
        "seconds_per_pair": round(float(np.mean(seconds)), 2) if seconds else None,
        "success_before_redrawing": {
            k: round(sum(count == 1 for count in v) / len(v), 3) for k, v in sorted(attempts.items())
        },
        "attempts": {k: sum(v) for k, v in sorted(attempts.items())},
    }


@cache
def renderer(name: str, size: int) -> Renderer:
    """One renderer per embodiment and size in this process."""
    body = robot(name) if name in ROBOTS else human(name)
    return Renderer(body.model, size)


def cast(config: TabletopConfig, job: Job, embodiment: str) -> tuple[Embodiment, str, int]:
    """Who demonstrates: the compiled embodiment, its name for `renderer` and the subject's number."""
    subject = int(np.random.default_rng([*stream(config, job), 0]).integers(SUBJECTS))
    if embodiment == "robot":
        return robot(config.robot), config.robot, subject
    shapes = list(load_hands())
    shape = shapes[subject % len(shapes)]
    return human(shape), shape, subject


def stream(config: TabletopConfig, job: Job) -> list[int]:
    """Random seed of one item; it depends on the seed and the item alone."""
    return [config.seed, 103, FIRST_SCENE[job.kind], job.index]


def try_out(
    config: TabletopConfig, job: Job, content: Content, redraw: int, tried: dict[str, int]
) -> dict[str, Rollout] | None:
    """Roll `content` out with every embodiment until each has succeeded; None when one fails too often."""
    rollouts = {}
    for branch, embodiment in enumerate(job.embodiments, start=1):
        body, _, _ = cast(config, job, embodiment)
        for attempt in range(MAX_ATTEMPTS):
            rng = np.random.default_rng([*stream(config, job), branch, redraw, attempt])
            rollout = roll_out(body, content, rng, config.rate, config.pace)
            tried[embodiment] = tried.get(embodiment, 0) + 1
            if rollout.success:
                rollouts[embodiment] = rollout
                break
            logger.info("scene %d: the %s did not %s, redrawn", job.scene, embodiment, content.instruction)
        else:
            return None
    return rollouts


def draw_demonstrations(
    config: TabletopConfig, job: Job
) -> tuple[Content, dict[str, Rollout], dict[str, int]]:
    """A content that every embodiment of the job can do, the rollouts, and the attempts by embodiment.

    Raises:
        RuntimeError: none of `MAX_CONTENTS` contents could be done.
    """
    tried: dict[str, int] = {}
    for redraw in range(MAX_CONTENTS):
        content = draw_content(config.seed, job.index, FIRST_SCENE[job.kind], redraw)
        rollouts = try_out(config, job, content, redraw, tried)
        if rollouts is not None:
            return content, rollouts, tried
    raise RuntimeError(f"scene {job.scene}: no demonstration of {MAX_CONTENTS} contents succeeded")


def film(config: TabletopConfig, job: Job, content: Content, embodiment: str, rollout: Rollout) -> Clip:
    """Give the clip its look and render it."""
    body, name, subject = cast(config, job, embodiment)
    rng = np.random.default_rng([*stream(config, job), LOOK[embodiment if config.own_looks else "human"]])
    tone = apply(body, content, config.appearance, rng, [config.seed, 104, content.layout])
    if embodiment == "human":
        dress(body, subject // len(load_hands()), rng)
    # The rollout moved static bodies of a model that other demonstrations share.
    reset(body, content)
    return record(body, content, rollout, renderer=renderer(name, config.size), tone=tone, size=config.size)


def make(config: TabletopConfig, job: Job) -> dict:
    """Generate one item on disk and return its record for `simulation.json`."""
    started = time.perf_counter()
    content, rollouts, tried = draw_demonstrations(config, job)
    _, _, subject = cast(config, job, job.embodiments[0])
    truths, name = {}, ""
    for embodiment, rollout in rollouts.items():
        clip = film(config, job, content, embodiment, rollout)
        name = scene_name(content, subject + 1, job.scene, embodiment == "human")
        truths[embodiment] = clip.truth
        clip.truth.save(config.out / "ground_truth" / f"{name}.npz")
        write_scene(config.out, name, clip, job.scene)
    if job.kind == "paired":
        np.savez_compressed(
            config.out / "ground_truth" / f"{name}.correspondence.npz",
            human_index=correspondence(truths["robot"], truths["human"]),
        )
    return {
        "kind": job.kind,
        "scene": name.removesuffix("_human"),
        "task": content.task,
        "instruction": content.instruction,
        "layout": content.layout,
        "attempts": tried,
        "frames": {k: len(t.timestamps) for k, t in truths.items()},
        "seconds": round(time.perf_counter() - started, 3),
    }


def generate(
    config: TabletopConfig, progress: Callable[[int, int], None] | None = None, processes: int = 1
) -> dict:
    """Generate what is missing in `config.out` and return the summary written to `simulation.json`.

    Args:
        config: what to generate.
        progress: called with (items done, items in all) after every item.
        processes: items made at the same time; the result is the same.

    Raises:
        UserError: arguments that cannot work, or a folder that belongs to something else.
    """
    check(config)
    robot(config.robot)
    state = open_state(config)
    write_descriptions(config.out)
    jobs = wanted(config)
    save_state(config, state)
    missing = [job for job in jobs if f"{job.scene:04d}" not in state["items"]]
    done = len(jobs) - len(missing)
    if progress:
        progress(done, len(jobs))
    for job, item in made(config, missing, processes):
        state["items"][f"{job.scene:04d}"] = item
        save_state(config, state)
        done += 1
        if progress:
            progress(done, len(jobs))
    return state["summary"]


def made(config: TabletopConfig, jobs: Sequence[Job], processes: int) -> Iterator[tuple[Job, dict]]:
    """Items as they are finished."""
    if processes == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, make(config, job)
        return
    with ProcessPoolExecutor(min(processes, len(jobs)), get_context("spawn"), begin_worker_process) as pool:
        futures = {pool.submit(make, config, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
