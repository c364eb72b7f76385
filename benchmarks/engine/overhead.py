"""What the flow adds to the work: `curate` on Ray against a bare loop over the same stage functions in one process.

Both curate the same clips, on the same cores. The loop runs on every core at once, each time over all clips, before the flow
and after it, since machines do not keep their speed: the mean of these times, divided by the number of cores, is what a flow
without any cost would take. A loop alone (`--lone`) is no measure
for several cores: they share caches and memory, often one physical core, and are slower when all are busy. Reported are

    ratio        wall seconds of the flow × cores / seconds of the loop           (target at most 1.15)
    utilization  compute seconds of all stages, by the ledger / (wall × cores)    (target at least 0.85)
    stages       of each: seconds of the loop, compute seconds of the flow, its wall × cores

The flow's time is that of its process, from the call to the end: Ray's start and the workers' are in it, Prefect's server
is not, as it runs before the night begins (without PREFECT_API_URL one is started first, and kept until the end).

    harp simulate tabletop --out build/overhead/raw --pairs 100
    python benchmarks/engine/overhead.py --raw build/overhead/raw --out build/overhead
"""

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from pipelines.curate import UPSTREAM, Curation
from pipelines.datasets.ingest import source_work
from pipelines.engine.executor import LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.engine.ledger import tally
from pipelines.engine.stage import Done
from pipelines.recipe import load_curate_recipe
from pipelines.runs import keep_sources, latest_run
from pipelines.shards.stage import plan_shards

RECIPE = "tabletop"
FLOW = "import sys; from flows.curate import curate; curate(*sys.argv[1:4])"


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--raw", type=Path, required=True)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--lone", action="store_true", help="the loop on one core, the others idle")
    options = arguments.parse_args()
    flow_lake = options.out / "flow"
    shutil.rmtree(flow_lake, ignore_errors=True)
    cores = len(os.sched_getaffinity(0))
    number = 1 if options.lone else cores
    before = bare_loops(options.raw, options.out, number)
    flow_seconds = run_flow(options.raw, flow_lake)
    after = bare_loops(options.raw, options.out, number)
    loop = {stage: (before[stage] + after[stage]) / 2 for stage in before}
    loop_seconds = sum(loop.values())
    lake = Lake(flow_lake)
    run = latest_run(lake)
    busy = {stage.name: tally(lake, stage.key).busy_seconds for stage in run.stages}
    figures: dict[str, Any] = {
        "clips": run.stages[0].total,
        "cores": cores,
        "loops_at_once": number,
        "loop_seconds": [round(sum(loops.values()), 1) for loops in (before, after)],
        "flow_seconds": round(flow_seconds, 1),
        "ratio": round(flow_seconds * cores / loop_seconds, 3),
        "utilization": round(sum(busy.values()) / (flow_seconds * cores), 3),
        "stages": {
            stage.name: [round(s, 1) for s in (loop[stage.name], busy[stage.name], stage.seconds * cores)]
            for stage in run.stages
        },
    }
    print(json.dumps(figures))


def run_flow(raw: Path, lake: Path) -> float:
    """Wall seconds of the flow's process, with a Prefect server that is up already."""
    if os.environ.get("PREFECT_API_URL"):
        return _flow_process(raw, lake)
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        from prefect.settings import get_current_settings

        url = get_current_settings().api.url
        assert url is not None, "the Prefect server has no address"
        return _flow_process(raw, lake, PREFECT_API_URL=url)


def _flow_process(raw: Path, lake: Path, **environment: str) -> float:
    command = [sys.executable, "-c", FLOW, RECIPE, str(raw), str(lake)]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=os.environ | environment)
    return time.perf_counter() - start


def bare_loops(raw: Path, out: Path, number: int) -> dict[str, float]:
    """Seconds of each stage, mean of so many loops at once, on a core each."""
    cores = sorted(os.sched_getaffinity(0))[:number]
    with ProcessPoolExecutor(number, multiprocessing.get_context("spawn")) as pool:
        loops = [pool.submit(bare_loop, raw, out / f"loop_{core}", core) for core in cores]
        results = [loop.result() for loop in loops]
    return {stage: sum(result[stage] for result in results) / number for stage in results[0]}


def bare_loop(raw: Path, root: Path, core: int) -> dict[str, float]:
    """Seconds of the stage functions called one item after another; only what they return is kept, in memory.

    The inputs are put together by the engine's own reading of the tables, which is not timed.
    """
    os.sched_setaffinity(0, {core})
    shutil.rmtree(root, ignore_errors=True)
    lake = Lake(root)
    curation = Curation(load_curate_recipe(RECIPE), raw, lake, LocalExecutor())
    clips = source_work(curation.recipe.make_reader().discover(raw), raw)
    curation.record.sources = keep_sources(lake, clips.labels)
    seconds = {}
    for name, stage in curation.stages.items():
        if name == "ingest":
            payloads = clips.load(list(clips.labels))
        elif name == "shards":
            shards = plan_shards(curation.accepted(), curation.recipe.shards)
            payloads = curation.view.shard_inputs(shards.values())
        else:
            work = curation.work(name)
            payloads = work.load(list(work.labels))
        start = time.perf_counter()
        stage.setup()
        outcomes = {i: _outcome(stage, payload) for i, payload in payloads.items()}
        stage.teardown()
        seconds[name] = time.perf_counter() - start
        rows = [(i, outcome.row) for i, outcome in outcomes.items() if isinstance(outcome, Done)]
        lake.append(stage.row, curation.keys[name], rows)
    assert list(curation.stages) == list(UPSTREAM)
    return seconds


def _outcome(stage, payload):
    try:
        return stage.process([payload])[0]
    except Exception as error:  # a broken clip is as broken for the flow
        return error


if __name__ == "__main__":
    main()
