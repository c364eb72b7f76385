"""How fast the CALVIN environment runs: control steps per second with and without pictures.

    python -m benchmarks.simulation.calvin_speed --data ~/calvin_env [--steps 120] [--renderer tiny]

Replays one random motion: without rendering, rendering both cameras once per 10-step action chunk (as a policy looks),
and rendering both at every step. 30 steps a second are real time.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from simulation.calvin.environment import CONTROL_RATE, CalvinEnvironment
from simulation.calvin.starts import ROBOT_START, draw_start

CHUNK = 10


def replay(environment: CalvinEnvironment, actions: np.ndarray, every: int | None) -> tuple[float, float]:
    """Seconds of the clock and of the processor that the actions take, looking every `every` steps."""
    environment.place(np.array(ROBOT_START), draw_start(environment.settings, np.random.default_rng(0)))
    environment.instruct("open_drawer")
    clock, processor = time.perf_counter(), time.process_time()
    for i, action in enumerate(actions):
        observation, _ = environment.step(action)
        if every and i % every == 0:
            _ = observation.third_view, observation.wrist
    return time.perf_counter() - clock, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--renderer", default="tiny")
    arguments = parser.parse_args()
    environment = CalvinEnvironment(arguments.data, renderer=arguments.renderer)
    started = time.perf_counter()
    environment.place(np.array(ROBOT_START), draw_start(environment.settings, np.random.default_rng(0)))
    start = time.perf_counter() - started
    random = np.random.default_rng(0)
    actions = np.repeat(random.normal(0, 0.4, (-(-arguments.steps // 20), 7)), 20, axis=0)[: arguments.steps]
    table = Table(
        "pictures",
        "steps per second",
        "steps per processor second",
        title=f"{CONTROL_RATE} is real time; a start takes {start:.2f} s",
    )
    for name, every in {"none": None, f"every {CHUNK} steps": CHUNK, "every step": 1}.items():
        clock, processor = replay(environment, actions, every)
        table.add_row(name, f"{len(actions) / clock:.0f}", f"{len(actions) / processor:.0f}")
    environment.close()
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
