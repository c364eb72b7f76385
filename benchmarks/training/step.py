"""What a stage-1 step costs: against a straightforward one, in memory, and as sizes grow.

    python -m benchmarks.training.step [--recipe laptop] [--steps 10] [--set key.path=value] [--out step.json]

Steps of both kinds are taken in turn in one process, forward, backward and optimizer; the ratio is of the medians.
Memory is the largest resident size during a step less the one before the first, each kind in a process of its own.
"""

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.training.made_batch import make_batch, make_stage
from benchmarks.training.straightforward import straightforward_step
from harp.data.batch import Stage1Batch
from harp.recipes import load_stage1_recipe
from harp.training.config import Stage1Config
from harp.training.stage import StepOutput
from harp.training.stage1_module import Stage1

Forward = Callable[[Stage1, Stage1Batch], StepOutput]


def harp_step(stage: Stage1, batch: Stage1Batch) -> StepOutput:
    """Forward pass of HARP's own step."""
    return stage(batch, stage.count(batch))


KINDS: dict[str, Forward] = {"HARP": harp_step, "straightforward": straightforward_step}
GROWTH = {
    "latent_action.width": (96, 192, 384),
    "data.context_frames": (0, 2, 6),
    "data.pairs_per_batch": (6, 12, 24),
    "vision.image_size": (56, 112, 224),
}


class Stepper:
    """Takes whole training steps on one batch."""

    def __init__(self, config: Stage1Config) -> None:
        self.precision = config.training.precision
        self.stage, self.batch = make_stage(config), make_batch(config)
        self.optimizer = torch.optim.AdamW(self.stage.parameter_groups())

    def seconds(self, forward: Forward) -> float:
        """One step."""
        started = time.perf_counter()
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            output = forward(self.stage, self.batch)
        output.loss.backward()
        self.optimizer.step()
        return time.perf_counter() - started


def compare(config: Stage1Config, steps: int) -> dict[str, float]:
    """Median seconds of each kind, steps taken in turn after one of each to warm up."""
    stepper = Stepper(config)
    times: dict[str, list[float]] = {name: [] for name in KINDS}
    for step in range(steps + 1):
        for name, forward in KINDS.items():
            seconds = stepper.seconds(forward)
            if step:
                times[name].append(seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_bytes(config: Stage1Config, name: str) -> int:
    """Memory that three steps add to what the process holds before them."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (config, name))


def _peak(config: Stage1Config, name: str) -> int:
    stepper = Stepper(config)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = _status("VmRSS")
    for _ in range(3):
        stepper.seconds(KINDS[name])
    return _status("VmHWM") - before


def _status(field: str) -> int:
    line = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith(field))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="laptop")
    parser.add_argument("--steps", type=int, default=10, help="of each kind")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--no-growth", action="store_true", help="leave out the sizes that grow")
    parser.add_argument("--out", type=Path, help="JSON of all numbers")
    arguments = parser.parse_args()
    config = load_stage1_recipe(arguments.recipe, arguments.set)
    console = Console()
    seconds = compare(config, arguments.steps)
    memory = {name: peak_bytes(config, name) for name in KINDS}
    results: dict[str, object] = {"seconds": seconds, "peak_bytes": memory}
    table = Table(title=f"A stage-1 step, recipe {arguments.recipe}, {torch.get_num_threads()} threads")
    for column in ("", "seconds", "peak MB"):
        table.add_column(column, justify="right")
    for name in KINDS:
        table.add_row(name, f"{seconds[name]:.3f}", f"{memory[name] / 1e6:.0f}")
    console.print(table)
    ratio = seconds["straightforward"] / seconds["HARP"]
    console.print(f"HARP's step is {ratio:.2f} times as fast.")
    if not arguments.no_growth:
        results["growth"] = growth(arguments.recipe, arguments.set, max(3, arguments.steps // 2), console)
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")


def growth(recipe: str, overrides: list[str], steps: int, console: Console) -> dict[str, dict[str, float]]:
    """Median seconds of a HARP step as one size after the other changes."""
    results: dict[str, dict[str, float]] = {}
    table = Table(title="Seconds of a step as one size changes")
    for column in ("size", "value", "seconds"):
        table.add_column(column, justify="left" if column == "size" else "right")
    for key, values in GROWTH.items():
        for value in values:
            stepper = Stepper(load_stage1_recipe(recipe, [*overrides, f"{key}={value}"]))
            times = [stepper.seconds(harp_step) for _ in range(steps + 1)][1:]
            results.setdefault(key, {})[str(value)] = statistics.median(times)
            table.add_row(key, str(value), f"{results[key][str(value)]:.3f}")
        table.add_section()
    console.print(table)
    return results


if __name__ == "__main__":
    main()
