"""What an item costs the engine itself: a stage that does no work, over more and more items.

Prints one JSON line per number of items: wall seconds, milliseconds per item, and the driver's CPU seconds and peak memory;
then the same for a run that finds everything done. The cost per item must not grow.

    python benchmarks/engine/scale.py --executor ray --items 1000 10000 100000
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Literal

from benchmarks.engine.nothing import NothingStage
from pipelines.engine.executors import make_executor
from pipelines.engine.lake import Lake
from pipelines.engine.runner import run_stage
from pipelines.engine.work import Work


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--executor", choices=["local", "ray"], default="ray")
    arguments.add_argument("--items", type=int, nargs="+", default=[1000, 10_000, 100_000])
    arguments.add_argument("--batch", type=int, default=1, help="items per call of a worker")
    options = arguments.parse_args()
    for number in options.items:
        # A process of its own, so that the peak of one measurement is not that of the one before.
        process = multiprocessing.get_context("spawn").Process(
            target=measure, args=(options.executor, number, options.batch)
        )
        process.start()
        process.join()


def measure(executor: Literal["local", "ray"], number: int, batch_size: int) -> None:
    work = Work({f"{i:016x}": f"item {i}" for i in range(number)}, lambda ids: {i: int(i, 16) for i in ids})
    with tempfile.TemporaryDirectory() as folder, make_executor(executor) as workers:
        lake = Lake(Path(folder) / "lake")
        if executor == "ray":  # the start of Ray is no cost of an item
            run_stage(
                NothingStage(1), Work({"0": "first"}, lambda ids: dict.fromkeys(ids, 0)), lake, workers, ["x"]
            )
        for name in ("all to do", "nothing to do"):
            start, cpu = time.perf_counter(), time.process_time()
            summary = run_stage(NothingStage(batch_size), work, lake, workers)
            seconds = time.perf_counter() - start
            assert summary.done + summary.already_done == number
            figures = {
                "executor": executor,
                "items": number,
                "run": name,
                "seconds": round(seconds, 2),
                "ms_per_item": round(1000 * seconds / number, 3),
                "driver_cpu_seconds": round(time.process_time() - cpu, 2),
                "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            }
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
