"""What closed-loop evaluation needs of an environment, as structural types.

Environments are found by name through the entry-point group `harp.environments`; each entry is a callable without
required arguments that returns an `Environment`. Nothing here knows which there are.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

from data_schemas.robot_interface import RobotInterface


class Trial(Protocol):
    """One start state: equal trials start equally, whatever the policy."""

    @property
    def task(self) -> str: ...
    @property
    def index(self) -> int: ...
    @property
    def seed(self) -> int: ...


TrialT = TypeVar("TrialT", bound=Trial)


class Observation(Protocol):
    """What a policy sees. Pictures are rendered when they are first read, so unread ones cost nothing.

    third_view, wrist: (S, S, 3) uint8 RGB; proprioception: (P,) float64; instruction: English.
    """

    @property
    def third_view(self) -> np.ndarray: ...
    @property
    def wrist(self) -> np.ndarray: ...
    @property
    def proprioception(self) -> np.ndarray: ...
    @property
    def instruction(self) -> str: ...


class Environment(Protocol[TrialT]):
    """A world that a policy acts in, one trial at a time.

    Attributes: tasks; episode_limit, control steps after which a trial ends; interface, what actions and states mean.
    """

    tasks: tuple[str, ...]
    episode_limit: int
    interface: RobotInterface

    def trials(self, task: str, count: int = 60, seed: int = 0) -> Sequence[TrialT]:
        """The first `count` trials of a task; a longer list begins with the shorter one."""
        ...

    def reset(self, trial: TrialT) -> Observation:
        """Start a trial."""
        ...

    def step(self, action: np.ndarray) -> tuple[Observation, bool, bool]:
        """Carry out one action (A,) and return (observation, done, success); `done` on success or at the limit."""
        ...

    def close(self) -> None:
        """Free the renderer."""
        ...
