"""Success of a policy in an environment, trial after trial, over as many processes as wanted.

A finished trial is never run twice: calling again with the same policy adds what is missing, be it after a kill or
because more trials or tasks are asked for. Of every task some successes and some failures are filmed; pictures are
rendered when a trial is over and is to be filmed, so all others cost what the policy looks at.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from data_schemas.errors import UserError
from data_schemas.strict_model import StrictModel
from harp.evaluation.closed_loop.actors import (
    REFERENCES,
    Actor,
    EnvironmentFactory,
    actor_identity,
    load_actor,
)
from harp.evaluation.closed_loop.films import film_rollout
from harp.evaluation.closed_loop.kept import finished
from harp.evaluation.closed_loop.results import ClosedLoopResult, TrialResult
from harp.evaluation.closed_loop.rollout import roll_out
from harp.evaluation.environment import Environment, Trial
from harp.policy.checkpoints.folder import POLICY, find_policy
from harp.training.run_folder import RunFolder

TRIALS, RESULT, TABLE, FILMS = "trials.jsonl", "evaluation.json", "evaluation.md", "films"
PROTOCOL = 1
"""Changes when the same policy would give other figures."""

Progress = Callable[[int, int, int], None]
"""Called with (trials done, trials in all, successes)."""


class ClosedLoopConfig(StrictModel):
    """What the figures depend on, besides the trials."""

    environment: str
    policy: str
    """Identity of its weights, or the name of a reference."""
    replan: int | None = None
    """Actions carried out of each chunk; all by default."""
    dataset: str | None = None
    """Whose statistics, where the policy holds several."""
    protocol: int = PROTOCOL


@dataclass
class Player:
    """Plays trials, and films some."""

    environment: Environment[Any]
    actor: Actor
    films: Path
    films_wanted: int
    """Of the successes and of the failures of every task."""

    def __call__(self, trial: Trial) -> TrialResult:
        started = time.perf_counter()
        rollout = roll_out(self.environment, trial, self.actor)
        seconds = time.perf_counter() - started
        kind = f"{trial.task}_{'success' if rollout.success else 'failure'}"
        path = self.films / f"{kind}_{trial.seed}_{trial.index:03d}.mp4"
        # Counting files, several processes at once may make one film more than wanted, which does no harm.
        filmed = len(list(self.films.glob(f"{kind}_{trial.seed}_[0-9][0-9][0-9].mp4"))) < self.films_wanted
        if filmed:
            film_rollout(path, rollout.observations, rollout.success, self.environment.interface.rate)
        return TrialResult(
            task=trial.task,
            index=trial.index,
            seed=trial.seed,
            success=rollout.success,
            steps=rollout.steps,
            looks=rollout.looks,
            seconds=round(seconds, 3),
            film=f"{self.films.name}/{path.name}" if filmed else None,
        )


def evaluate_closed_loop(
    factory: EnvironmentFactory,
    environment: str,
    policy: str,
    out: Path,
    *,
    tasks: Sequence[str] = (),
    trials: int = 60,
    seed: int = 0,
    replan: int | None = None,
    dataset: str | None = None,
    workers: int = 1,
    films: int = 2,
    progress: Progress = lambda done, total, successes: None,
) -> ClosedLoopResult:
    """Run what is missing of `trials` trials a task, and write the table.

    Args:
        factory: makes the environment, in every process.
        environment: its name.
        policy: folder of a policy or its run, or one of `REFERENCES`.
        out: folder of `evaluation.json`, `evaluation.md`, `trials.jsonl` and `films/`.
        tasks: of the environment's; all by default.
        seed: of the start states.
        replan: actions carried out of each chunk; all by default.
        dataset: whose statistics, where the policy holds several.
        films: successes, and failures, that are filmed of every task.

    Raises:
        UserError: no such policy or task, a policy of another robot, or a folder with another policy's trials.
    """
    config = ClosedLoopConfig(
        environment=environment, policy=actor_identity(policy), replan=replan, dataset=dataset
    )
    world = factory()
    try:
        chosen = _chosen(world.tasks, tasks)
        listed = [trial for task in chosen for trial in world.trials(task, trials, seed)]
    finally:
        world.close()
    RunFolder(out, config)
    wanted = {(trial.seed, trial.task, trial.index): trial for trial in listed}

    def report(results: Sequence[TrialResult]) -> None:
        progress(len(results), len(wanted), sum(one.success for one in results))

    make = partial(_player, factory, policy, config, out / FILMS, films)
    results = finished(out / TRIALS, TrialResult, make, wanted, workers, report)
    whole = ClosedLoopResult(environment, config.policy, seed, results)
    (out / TABLE).write_text(whole.markdown())
    whole.write(out / RESULT)
    return whole


def default_out(policy: str, environment: str) -> Path:
    """`RUN/evaluation/ENVIRONMENT` of a policy's run; `evaluation/ENVIRONMENT-REFERENCE` of a reference."""
    if policy in REFERENCES:
        return Path("evaluation") / f"{environment}-{policy}"
    folder = find_policy(policy, REFERENCES)
    return (folder.parent if folder.name == POLICY else folder) / "evaluation" / environment


def _chosen(available: Sequence[str], asked: Sequence[str]) -> Sequence[str]:
    unknown = [task for task in asked if task not in available]
    if unknown:
        raise UserError(f"There is no task {', '.join(unknown)}; the tasks are {', '.join(available)}.")
    return tuple(dict.fromkeys(asked)) or available


def _player(
    factory: EnvironmentFactory,
    policy: str,
    config: ClosedLoopConfig,
    films: Path,
    films_wanted: int,
) -> Player:
    actor = load_actor(policy, config.environment, config.replan, config.dataset)
    return Player(factory(), actor, films, films_wanted)
