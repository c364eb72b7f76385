"""One trial from its start state to success or to the limit."""

from dataclasses import dataclass
from typing import Any

from harp.evaluation.closed_loop.actors import Actor
from harp.evaluation.environment import Environment, Observation, Trial


@dataclass(frozen=True)
class Rollout:
    """How a trial went.

    observations: (steps + 1), before the first action and after each one; their pictures can be rendered until the
    environment is reset.
    """

    observations: list[Observation]
    success: bool
    looks: int
    """How often the actor was asked."""

    @property
    def steps(self) -> int:
        return len(self.observations) - 1


def roll_out(environment: Environment[Any], trial: Trial, actor: Actor) -> Rollout:
    """Let an actor act until the trial is over; actions of a chunk behind the end are dropped."""
    observations = [environment.reset(trial)]
    actor.begin(environment, trial)
    done, success, looks = False, False, 0
    while not done:
        looks += 1
        for action in actor.act(observations[-1]):
            observation, done, success = environment.step(action)
            observations.append(observation)
            if done:
                break
    return Rollout(observations, success, looks)
