"""CALVIN's long-horizon evaluation (paper table 1): five tasks in a row from 1,000 starts, one sentence at a time.

The policy is told one task, acts until the benchmark's oracle says that it is done or 360 steps have passed, and is told
the next one from wherever it stands; a chain ends at its first failure. A chunk of actions is carried out open loop and
dropped when its task is done, so no policy remembers an earlier sentence.

Environments are found by name through the entry-point group `harp.chain_environments`; each entry is called with the
user's folder, a scene and a renderer. A finished chain is never run twice.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from data_schemas.errors import UserError
from data_schemas.robot_interface import RobotInterface
from data_schemas.strict_model import StrictModel
from harp.evaluation.calvin_results import CHAINS, CalvinResult, ChainResult
from harp.evaluation.closed_loop.actors import Actor, actor_identity, load_actor
from harp.evaluation.closed_loop.kept import finished
from harp.evaluation.environment import Environment, Observation, Trial
from harp.training.run_folder import RunFolder

logger = logging.getLogger(__name__)

GROUP = "harp.chain_environments"
PROTOCOL = 1
"""Changes when the same policy would give other figures."""

Progress = Callable[[int, int, float], None]
"""Called with (chains done, chains in all, average length so far)."""


class Chain(Protocol):
    """A start, and the tasks to be done from it in order."""

    @property
    def initial(self) -> Mapping[str, str | int]: ...
    @property
    def subtasks(self) -> tuple[str, ...]: ...


class ChainEnvironment(Protocol):
    """A world in which one task is asked for after another.

    Attributes: subtask_limit, control steps that a task may take; interface, what actions and
    states mean.
    """

    subtask_limit: int
    interface: RobotInterface

    def chains(self, count: int) -> Sequence[Chain]:
        """The first `count` chains of the benchmark."""
        ...

    def start(self, chain: Any) -> None:
        """Put everything where a chain starts."""
        ...

    def instruct(self, task: str) -> Observation:
        """Ask for a task, to be judged from this moment on."""
        ...

    def step(self, action: np.ndarray) -> tuple[Observation, bool]:
        """Carry out one action (A,) and return what is seen, and whether the task is done."""
        ...

    def close(self) -> None:
        """Free the physics."""
        ...


Factory = Callable[[], ChainEnvironment]
"""Makes the environment in whichever process needs one, so it must be picklable."""


class CalvinConfig(StrictModel):
    """What the figures depend on, besides the number of chains."""

    environment: str
    scene: str
    renderer: str
    policy: str
    """Identity of its weights, or the name of a reference."""
    replan: int | None = None
    """Actions carried out of each chunk; all by default."""
    dataset: str | None = None
    """Whose statistics, where the policy holds several."""
    protocol: int = PROTOCOL


@dataclass(frozen=True)
class Attempt:
    """One task: whether it was done, in how many control steps, and how often the policy looked."""

    success: bool
    steps: int
    looks: int


def attempt(environment: ChainEnvironment, actor: Actor, task: str) -> Attempt:
    """Ask for one task and let the policy act until it is done or the time is over."""
    observation = environment.instruct(task)
    # Actors check a robot's dimensions, which chains have as single trials have; an expert is told its task.
    actor.begin(cast(Environment[Any], environment), cast(Trial, task))
    steps = looks = 0
    while steps < environment.subtask_limit:
        looks += 1
        for action in actor.act(observation)[: environment.subtask_limit - steps]:
            observation, success = environment.step(action)
            steps += 1
            if success:
                return Attempt(True, steps, looks)
    return Attempt(False, steps, looks)


def run_chain(environment: ChainEnvironment, actor: Actor, chain: Chain, number: int) -> ChainResult:
    """One chain, to its end or its first failure."""
    started = time.perf_counter()
    environment.start(chain)
    attempts: list[Attempt] = []
    for task in chain.subtasks:
        attempts.append(attempt(environment, actor, task))
        if not attempts[-1].success:
            break
    return ChainResult(
        number=number,
        subtasks=tuple(chain.subtasks),
        steps=tuple(one.steps for one in attempts),
        solved=sum(one.success for one in attempts),
        looks=sum(one.looks for one in attempts),
        seconds=round(time.perf_counter() - started, 3),
    )


def evaluate_calvin(
    factory: Factory,
    config: CalvinConfig,
    policy: str,
    out: Path,
    *,
    chains: int = 1000,
    workers: int = 1,
    progress: Progress = lambda done, total, average: None,
) -> CalvinResult:
    """Run what is missing of the first `chains` chains, and write `result.json`.

    Args:
        factory: makes the environment, in every process.
        config: what it makes, and which policy.
        policy: folder of a policy or its run, or one of the references `expert`, `noop`.
        out: folder of `result.json`, `success_rate.txt`, `evaluation.md` and `chains.jsonl`.

    Raises:
        UserError: no such policy, a policy of another robot, or a folder with another policy's chains.
    """
    world = factory()
    try:
        logger.info("Drawing %d of the benchmark's chains; all 1,000 take about a minute.", chains)
        wanted = {number: (number, chain) for number, chain in enumerate(world.chains(chains))}
    finally:
        world.close()
    RunFolder(out, config)

    def report(results: Sequence[ChainResult]) -> None:
        average = float(np.mean([one.solved for one in results])) if results else 0.0
        progress(len(results), len(wanted), average)

    make = partial(_player, factory, policy, config)
    whole = CalvinResult(finished(out / CHAINS, ChainResult, make, wanted, workers, report))
    whole.write(out)
    return whole


def chain_environment(
    name: str, folder: Path | None = None, scene: str = "D", renderer: str = "tiny"
) -> Factory:
    """The environment of an entry point `harp.chain_environments`.

    Raises:
        UserError: there is none of this name, or the packages that it needs are not installed.
    """
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        raise UserError(f"There is no environment '{name}': choose one of {', '.join(sorted(found))}.")
    try:
        made = found[name].load()
    except ModuleNotFoundError as error:
        raise UserError(
            f"'{name}' needs the package {error.name}, which is not installed; `pip install 'harp-vla[calvin]'` brings "
            "PyBullet, docs/calvin.md says where calvin_env comes from."
        ) from None
    return partial(made, folder, scene, renderer)


def configuration(
    environment: str, scene: str, renderer: str, policy: str, replan: int | None, dataset: str | None = None
) -> CalvinConfig:
    """What is evaluated, with the policy known by its weights."""
    return CalvinConfig(
        environment=environment,
        scene=scene,
        renderer=renderer,
        policy=actor_identity(policy),
        replan=replan,
        dataset=dataset,
    )


def _player(
    factory: Factory, policy: str, config: CalvinConfig
) -> Callable[[tuple[int, Chain]], ChainResult]:
    environment = factory()
    actor = load_actor(policy, config.environment, config.replan, config.dataset)
    return lambda chain: run_chain(environment, actor, chain[1], chain[0])
