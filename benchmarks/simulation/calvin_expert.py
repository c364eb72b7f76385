"""How often the scripted expert does CALVIN's tasks, in each scene, judged by CALVIN's oracle.

    python -m benchmarks.simulation.calvin_expert --data ~/calvin_env [--scenes ABCD] [--sequences 20] [--seed 0]

A sequence starts from a random state and goes on with random tasks that make sense, as the benchmark's chains do, until
one fails or five are done. For the benchmark's own chains: `harp evaluate calvin --policy expert`.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from simulation.calvin.chains import LENGTH, Chain, draw_chains, initial_conditions
from simulation.calvin.environment import SUBTASK_LIMIT, CalvinEnvironment
from simulation.calvin.expert import Expert
from simulation.calvin.starts import ROBOT_START, condition_start


def run(environment: CalvinEnvironment, chain: Chain, seed: int) -> list[bool]:
    """Whether the expert did each task of a chain, to the first failure."""
    scene = condition_start(environment.settings, chain.initial, np.random.default_rng(seed))
    environment.place(np.array(ROBOT_START), scene)
    done = []
    for task in chain.subtasks:
        environment.instruct(task)
        actions = Expert(environment, task).actions()
        done.append(any(environment.step(next(actions))[1] for _ in range(SUBTASK_LIMIT)))
        if not done[-1]:
            break
    return done


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--scenes", default="ABCD")
    parser.add_argument("--sequences", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    counts: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    lengths: dict[str, list[int]] = defaultdict(list)
    conditions = initial_conditions()
    random = np.random.default_rng(arguments.seed)
    chosen = random.choice(len(conditions), arguments.sequences, replace=False)
    chains = [Chain(conditions[i], draw_chains(conditions[i], 1, int(i))[0]) for i in chosen]
    for scene in arguments.scenes:
        environment = CalvinEnvironment(arguments.data, scene)
        for number, chain in enumerate(chains):
            done = run(environment, chain, arguments.seed + number)
            lengths[scene].append(sum(done))
            for task, one in zip(chain.subtasks, done, strict=False):
                counts[task][scene].append(one)
        environment.close()
    average = ", ".join(f"{scene} {np.mean(lengths[scene]):.2f}" for scene in arguments.scenes)
    table = Table("task", *arguments.scenes, title=f"tasks done in a row, of {LENGTH}: {average}")
    for task in sorted(counts):
        rows = [counts[task][scene] for scene in arguments.scenes]
        table.add_row(task, *(f"{sum(row)} of {len(row)}" if row else "" for row in rows))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
