"""How fast the tabletop environment runs: control steps per second with and without pictures.

    python -m benchmarks.simulation.steps [--episodes 2] [--size 224]

Replays the expert's actions of `episodes` trials per task: without rendering, rendering both cameras once per
10-step action chunk (as a policy looks), and rendering both at every step.
"""

import argparse
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from simulation.environment import EPISODE_LIMIT, RATE, TabletopEnvironment
from simulation.expert import Expert
from simulation.trials import Trial, trials

CHUNK = 10


def expert_actions(environment: TabletopEnvironment, trial: Trial) -> np.ndarray:
    """The expert's actions (T, 7) in one trial."""
    environment.reset(trial)
    actions = []
    for _, action in zip(range(EPISODE_LIMIT), Expert(environment, trial).actions(), strict=False):
        actions.append(action)
        if environment.step(action)[1]:
            break
    return np.array(actions)


def replay(environment: TabletopEnvironment, trial: Trial, actions: np.ndarray, every: int | None) -> float:
    """Seconds that the actions take, looking at both cameras every `every` steps."""
    environment.reset(trial)
    started = time.perf_counter()
    for i, action in enumerate(actions):
        observation, _, _ = environment.step(action)
        if every and i % every == 0:
            _ = observation.third_view, observation.wrist
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=2)
    parser.add_argument("--size", type=int, default=224)
    arguments = parser.parse_args()
    environment = TabletopEnvironment(size=arguments.size)
    modes = {"no pictures": None, f"every {CHUNK} steps": CHUNK, "every step": 1}
    table = Table("task", "steps", *modes, title=f"control steps per second ({RATE:g} is real time)")
    for task in environment.tasks:
        seconds, steps = dict.fromkeys(modes, 0.0), 0
        for trial in trials(task, arguments.episodes):
            actions = expert_actions(environment, trial)
            steps += len(actions)
            for name, every in modes.items():
                seconds[name] += replay(environment, trial, actions, every)
        table.add_row(task, str(steps), *(f"{steps / s:.0f}" for s in seconds.values()))
    environment.close()
    Console().print(table)


if __name__ == "__main__":
    main()
