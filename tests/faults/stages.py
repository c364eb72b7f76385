"""Stages that do harm, and the command that runs one: `python -m tests.faults.stages LAKE NAME EXECUTOR NUM_ITEMS`.

Prints one JSON line with what the run left; a user's mistake goes to standard error with exit status 2, as in `harp`.
"""

import ctypes
import json
import sys
import time
from collections.abc import Sequence

import numpy as np

from data_schemas.errors import UserError
from pipelines.engine.commits import CommitEvery
from pipelines.engine.executors import make_executor
from pipelines.engine.lake import Lake
from pipelines.engine.ray_executor import RayExecutor
from pipelines.engine.runner import run_stage
from pipelines.engine.stage import Done, Outcome, Resources, Stage, StageConfig
from tests.pipelines.engine.toy import Power, numbers

GIGABYTE = 2**30
ROW_FLOATS = 8192


def row(value: int, size: int = 2) -> Power:
    """Random numbers, so that they do not compress."""
    lower = np.random.default_rng(value).normal(size=(size // 2, 2)).astype(np.float32)
    return Power(value, value**2, None, [], [], lower)


class Bulky(Stage[int, StageConfig]):
    """32 kB per row."""

    name, version, row = "bulky", 1, Power

    def process(self, batch: Sequence[int]) -> list[Outcome]:
        return [Done(row(value, ROW_FLOATS)) for value in batch]


class Segfault(Stage[int, StageConfig]):
    """Item 5 reads address 0, as a broken decoder does."""

    name, version, row = "segfault", 1, Power
    batch_size = 4

    def process(self, batch: Sequence[int]) -> list[Outcome]:
        if 5 in batch:
            ctypes.string_at(0)
        return [Done(row(value)) for value in batch]


class Hungry(Stage[int, StageConfig]):
    """Item 5 takes 4 GB and holds them."""

    name, version, row = "hungry", 1, Power
    resources = Resources()

    def process(self, batch: Sequence[int]) -> list[Outcome]:
        if 5 in batch:
            held = [np.ones(GIGABYTE // 8) for _ in range(4)]
            time.sleep(60)
            del held
        return [Done(row(value)) for value in batch]


STAGES = {stage.name: stage for stage in (Bulky, Segfault, Hungry)}


def main(lake: str, name: str, executor: str, num_items: str) -> None:
    """Run a stage and print what came of it."""
    workers = RayExecutor(num_cpus=2) if executor == "ray" else make_executor("local")
    try:
        with workers:
            summary = run_stage(
                STAGES[name](StageConfig()),
                numbers(*range(int(num_items))),
                Lake(lake),
                workers,
                commit_every=CommitEvery(rows=4, seconds=0.0),
            )
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    failures = {e.label: [e.reason, e.retryable] for e in summary.failures}
    print(json.dumps({"key": summary.key, "done": summary.done, "failures": failures}))


if __name__ == "__main__":
    main(*sys.argv[1:])
