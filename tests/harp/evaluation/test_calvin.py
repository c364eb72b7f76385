"""The protocol of chains in a small world that counts, and its files against the benchmark's formulas."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_schemas.errors import UserError
from data_schemas.robot_interface import RobotInterface
from harp.evaluation.calvin import CalvinConfig, attempt, chain_environment, evaluate_calvin, run_chain
from harp.evaluation.calvin_results import CHAINS, RATES, RESULT, CalvinResult, ChainResult

LIMIT = 360
TASKS = ("a", "b", "c", "d", "e")


@dataclass(frozen=True)
class Chain:
    """Its tasks are done by themselves after so many steps each."""

    needed: tuple[int, ...]
    initial: dict[str, int] = field(default_factory=dict)
    subtasks: tuple[str, ...] = TASKS


@dataclass(frozen=True)
class Seen:
    """An observation that says which task it is."""

    instruction: str
    third_view: np.ndarray = field(default_factory=lambda: np.zeros((2, 2, 3), np.uint8))
    wrist: np.ndarray = field(default_factory=lambda: np.zeros((2, 2, 3), np.uint8))
    proprioception: np.ndarray = field(default_factory=lambda: np.zeros(7))


class World:
    """Every task is done after the number of steps that its chain says, whatever is done."""

    subtask_limit = LIMIT
    interface = RobotInterface(
        rate=30.0, actions=tuple("abcdefg"), action_scale=(1.0,) * 7, proprioception=tuple("abcdefg")
    )

    def __init__(self, chains: Sequence[Chain] = ()) -> None:
        self._chains, self._steps, self.started = chains, 0, 0
        self.actions: list[np.ndarray] = []

    def chains(self, count: int) -> Sequence[Chain]:
        return self._chains[:count]

    def start(self, chain: Chain) -> None:
        self._needed, self.started = dict(zip(chain.subtasks, chain.needed, strict=True)), self.started + 1

    def instruct(self, task: str) -> Seen:
        self._task, self._steps = task, 0
        return Seen(task)

    def step(self, action: np.ndarray) -> tuple[Seen, bool]:
        self.actions.append(action)
        self._steps += 1
        return Seen(self._task), self._steps == self._needed[self._task]

    def close(self) -> None:
        pass


class Chunks:
    """Answers with chunks of ten and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def begin(self, environment: object, trial: object) -> None:
        pass

    def act(self, observation: Any) -> np.ndarray:
        self.told.append(observation.instruction)
        return np.tile(np.arange(10.0)[:, None], (1, 7))


def test_a_task_ends_at_its_success_and_drops_the_chunk():
    world, actor = World(), Chunks()
    world.start(Chain((25, 1, 1, 1, 1)))
    result = attempt(world, actor, "a")
    assert (result.success, result.steps, result.looks) == (True, 25, 3)
    assert [action[0] for action in world.actions] == [*range(10), *range(10), *range(5)]


@pytest.mark.parametrize(("needed", "success"), [(LIMIT, True), (LIMIT + 1, False)])
def test_a_task_has_360_steps(needed: int, success: bool):
    world = World()
    world.start(Chain((needed, 1, 1, 1, 1)))
    result = attempt(world, Chunks(), "a")
    assert (result.success, result.steps) == (success, LIMIT)


def test_a_chain_ends_at_its_first_failure():
    world, actor = World(), Chunks()
    result = run_chain(world, actor, Chain((3, 12, 999, 1, 1)), 7)
    assert (result.number, result.solved, result.steps) == (7, 2, (3, 12, LIMIT))
    assert list(dict.fromkeys(actor.told)) == ["a", "b", "c"]
    assert result.looks == 1 + 2 + 36


def config(policy: str = "noop") -> CalvinConfig:
    return CalvinConfig(environment="calvin", scene="D", renderer="tiny", policy=policy)


def test_evaluation_continues_and_writes_the_benchmark_s_files(tmp_path: Path):
    chains = [Chain((1, 1, 1, 1, 1)), Chain((2, 999, 1, 1, 1)), Chain((999, 1, 1, 1, 1)), Chain((1,) * 5)]
    started: list[World] = []

    def made() -> World:
        started.append(World(chains))
        return started[-1]

    evaluate_calvin(made, config(), "noop", tmp_path, chains=2)
    whole = evaluate_calvin(made, config(), "noop", tmp_path, chains=4)
    assert [chain.solved for chain in whole.chains] == [5, 1, 0, 5]
    assert sum(world.started for world in started) == 4, "no chain is run twice"
    written = json.loads((tmp_path / RESULT).read_text())
    assert written == {
        "avg_seq_len": 11 / 4,
        "chain_sr": {"1": 0.75, "2": 0.5, "3": 0.5, "4": 0.5, "5": 0.5},
        "task_info": {
            "a": {"success": 3, "total": 4},
            "b": {"success": 2, "total": 3},
            **{task: {"success": 2, "total": 2} for task in "cde"},
        },
    }
    lines = (tmp_path / RATES).read_text().splitlines()
    assert lines[1].startswith("2/4 : 1/5 : 100.0% | 2/5 : 50.0% |")
    with (tmp_path / CHAINS).open("a") as file:
        file.write('{"number": 3, "sub')  # cut off by a kill
    assert evaluate_calvin(made, config(), "noop", tmp_path, chains=4).chains == whole.chains


def test_another_policy_s_folder_is_refused(tmp_path: Path):
    made = partial(World, [Chain((1,) * 5)])
    evaluate_calvin(made, config(), "noop", tmp_path, chains=1)
    with pytest.raises(UserError, match="policy"):
        evaluate_calvin(made, config("other"), "noop", tmp_path, chains=1)


def test_an_expert_acts_in_its_own_environment_only(tmp_path: Path):
    official = config("expert").model_copy(update={"environment": "calvin-official"})
    with pytest.raises(UserError, match="no 'calvin-official'"):
        evaluate_calvin(partial(World, [Chain((1,) * 5)]), official, "expert", tmp_path, chains=1)


def test_the_interval_is_over_chains():
    chains = tuple(ChainResult(i, TASKS, (1,), 5 * (i % 2), 1, 0.0) for i in range(400))
    average = CalvinResult(chains).average_length
    assert average.mean == 2.5
    assert average.high - average.mean == pytest.approx(1.96 * 2.5 / 20, rel=0.1)


def test_an_unknown_environment_is_named():
    with pytest.raises(UserError, match="calvin-official"):
        chain_environment("kelvin")
