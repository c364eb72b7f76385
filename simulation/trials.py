"""Trials: the start states of the closed-loop environment and of its demonstrations.

A trial is drawn from (seed, split, task, index) alone, so every policy meets the same 60 start states a task, and a
longer list begins with the shorter one. Evaluation and demonstrations with the same seed share the eight layouts of
the table and their looks, and differ in everything that is drawn from them: jitter, objects, colours, camera, light.
"""

from dataclasses import dataclass

import numpy as np

from data_schemas.errors import UserError
from simulation.content import TASKS, Content, draw_content
from simulation.rollout import START

STREAMS = {"evaluation": 20_001, "demonstrations": 30_001}
START_OPENING = 0.06  # metres
START_NOISE = 0.02  # metres


@dataclass(frozen=True)
class Trial:
    """One start state.

    task: one of `simulation.content.TASKS`; index: number of the trial within the task; seed: of the set;
    split: `evaluation` or `demonstrations`.
    """

    task: str
    index: int
    seed: int = 0
    split: str = "evaluation"

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise UserError(f"Unknown task {self.task!r}: choose one of {', '.join(TASKS)}.")
        if self.split not in STREAMS:
            raise UserError(f"Unknown split {self.split!r}: choose one of {', '.join(STREAMS)}.")
        if self.index < 0 or self.seed < 0:
            raise UserError(f"Trial {self.index} of seed {self.seed}: expected no negative number.")

    def content(self) -> Content:
        """Objects, colours, positions and the instruction."""
        index = self.index * len(TASKS) + TASKS.index(self.task)
        return draw_content(self.seed, index, STREAMS[self.split])

    def random(self, purpose: int) -> np.random.Generator:
        """A source of randomness for one purpose, the same in every process."""
        return np.random.default_rng(
            [self.seed, 105, STREAMS[self.split], TASKS.index(self.task), self.index, purpose]
        )

    def start(self) -> np.ndarray:
        """Tool point (3,) at the beginning, metres."""
        return START + self.random(0).normal(0, START_NOISE, 3)


def trials(task: str, count: int = 60, seed: int = 0, split: str = "evaluation") -> list[Trial]:
    """The first `count` trials of a task."""
    return [Trial(task, index, seed, split) for index in range(count)]
