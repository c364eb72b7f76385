"""How often the scripted expert succeeds in the closed-loop environment, with films of its first trials.

    python -m benchmarks.simulation.expert [--trials 60] [--seed 0] [--films DIR]

Prints success and the number of control steps by task. With --films, DIR gets an mp4 of the first trial of every task,
another of every failure, and a contact sheet.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from harp.evaluation.closed_loop.films import contact_sheet, film, write_film
from simulation.environment import RATE, TabletopEnvironment
from simulation.robot_demonstrations import record_trial
from simulation.trials import trials


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--films", type=Path)
    arguments = parser.parse_args()
    environment = TabletopEnvironment()
    table = Table("task", "trials", "success", "mean steps", "most steps", "failed trials")
    films = []
    for task in environment.tasks:
        steps, failures = [], []
        for trial in trials(task, arguments.trials, arguments.seed):
            recording = record_trial(environment, trial)
            steps.append(len(recording.actions))
            if not recording.success:
                failures.append(trial.index)
            if arguments.films and (trial.index == 0 or not recording.success):
                films.append(film(recording.observations, recording.success))
                write_film(arguments.films / f"{task}_{trial.index:02d}.mp4", films[-1], RATE)
        share = f"{1 - len(failures) / len(steps):.1%}"
        table.add_row(
            task, str(len(steps)), share, f"{np.mean(steps):.0f}", str(max(steps)), str(failures or "")
        )
    if films:
        contact_sheet(films, arguments.films / "contact_sheet.png")
    environment.close()
    Console().print(table)


if __name__ == "__main__":
    main()
