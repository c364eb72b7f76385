"""A world without physics: a trial succeeds after as many steps as its index says, if that is an even number."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_schemas.robot_interface import RobotInterface

LIMIT = 6
TOY_INTERFACE = RobotInterface(
    rate=10.0, actions=tuple("abcd"), action_scale=(1.0,) * 4, proprioception=tuple("abcde")
)


@dataclass(frozen=True)
class ToyTrial:
    task: str
    index: int
    seed: int = 0


@dataclass(frozen=True)
class ToyObservation:
    proprioception: np.ndarray
    third_view: np.ndarray
    wrist: np.ndarray
    instruction: str = "do nothing"


class ToyWorld:
    """Writes one line a trial into `diary`, so that tests see what was really played."""

    tasks: tuple[str, ...] = ("wait", "hide")
    episode_limit = LIMIT
    interface = TOY_INTERFACE

    def __init__(self, diary: Path, fails_at: int | None = None) -> None:
        self._diary, self._fails_at = diary, fails_at
        self._trial, self._steps = ToyTrial("wait", 0), 0
        self.actions: list[np.ndarray] = []

    def trials(self, task: str, count: int = 60, seed: int = 0) -> list[ToyTrial]:
        return [ToyTrial(task, index, seed) for index in range(count)]

    def reset(self, trial: ToyTrial) -> ToyObservation:
        if trial.index == self._fails_at:
            raise RuntimeError("the world ends")
        with self._diary.open("a") as file:
            file.write(f"{trial.seed} {trial.task} {trial.index}\n")
        self._trial, self._steps, self.actions = trial, 0, []
        return self._observe()

    def step(self, action: np.ndarray) -> tuple[ToyObservation, bool, bool]:
        assert action.shape == (len(self.interface.actions),)
        self.actions.append(action)
        self._steps += 1
        success = self._trial.index % 2 == 0 and self._steps > self._trial.index
        return self._observe(), success or self._steps == LIMIT, success

    def close(self) -> None:
        pass

    def _observe(self) -> ToyObservation:
        third_view = np.full((16, 16, 3), 10 * self._steps, np.uint8)
        return ToyObservation(np.full(5, 0.1 * self._steps), third_view, third_view[:8, :8])
