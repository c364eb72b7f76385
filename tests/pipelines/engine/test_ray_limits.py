"""What a worker may take: time, memory, age, shares of a GPU; and what the metrics endpoint says of it."""

import dataclasses
import re
import time
import urllib.request
from pathlib import Path

import ray

from data_schemas.ledger import LedgerEntry
from pipelines.curate import make_stages
from pipelines.engine import ledger
from pipelines.engine.executor import Limits
from pipelines.engine.lake import Lake
from pipelines.engine.ray_executor import RayExecutor
from pipelines.engine.ray_pool import max_workers
from pipelines.engine.runner import run_stage
from pipelines.engine.stage import LIGHT, Failed, Resources
from pipelines.recipe import load_curate_recipe
from tests.pipelines.engine.toy import LimitsConfig, LimitsStage, Power, PowerConfig, PowerStage, numbers


def test_an_item_that_takes_too_long_is_blamed_alone(tmp_path: Path, ray_executor: RayExecutor) -> None:
    lake = Lake(tmp_path)
    stage = LimitsStage(LimitsConfig(sleep_on=(5,)))
    stage.batch_size = 2
    limits = Limits(item_seconds=5.0)  # a busy machine takes seconds over nothing
    summary = run_stage(stage, numbers(*range(8)), lake, ray_executor, limits=limits)
    assert summary.failed == {"timeout": 1}
    assert [entry.label for entry in summary.failures] == ["number 5"]
    assert {row.value for row in lake.read(Power, summary.key).values()} == set(range(8)) - {5}
    attempts = ledger.attempts_at(lake, "id00005")
    assert [(e.outcome, e.reason) for e in attempts] == [("failed", "worker_lost"), ("failed", "timeout")]
    assert attempts[-1].seconds >= 5.0
    assert attempts[-1].worker


def test_a_hung_item_ends_in_time_beside_others_that_are_always_ready(ray_executor: RayExecutor) -> None:
    """The consumer is slow, so that there is a result whenever it asks for one; and none of those came too late."""
    limits = Limits(item_seconds=2.0)
    verdicts = {}
    for attempt in ray_executor.run(LimitsStage(LimitsConfig(sleep_on=(0,))), numbers(*range(30)), limits):
        if attempt is None:
            continue
        verdicts[attempt.item.payload] = attempt.outcome
        if len(verdicts) == 1:
            time.sleep(limits.item_seconds + 1)  # as over a slow commit
        time.sleep(0.1)
    outcomes = list(verdicts.values())
    (failed,) = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert failed.reason == "timeout"
    assert outcomes.index(failed) < 20


def test_an_item_that_takes_too_much_memory_is_blamed_alone(
    tmp_path: Path, ray_executor: RayExecutor
) -> None:
    lake = Lake(tmp_path)
    stage = LimitsStage(LimitsConfig(eat_on=(1,), eat_gb=1.5))
    stage.resources = Resources(cpus=1, memory_gb=0.5)
    limits = Limits(memory_factor=2.0)
    summary = run_stage(stage, numbers(*range(4)), lake, ray_executor, limits=limits)
    assert summary.failed == {"memory_limit": 1}
    (entry,) = summary.failures
    assert entry.label == "number 1"
    assert re.search(r"took 1\.\d+ GB of the 1 GB", entry.detail)
    assert len(lake.ids(Power, summary.key)) == 3


def test_an_old_worker_is_replaced(tmp_path: Path, ray_executor: RayExecutor) -> None:
    lake = Lake(tmp_path)
    stage = LimitsStage(LimitsConfig(sleep_seconds=0.2))
    stage.resources = Resources(cpus=2)
    limits = Limits(worker_seconds=0.1)
    summary = run_stage(stage, numbers(*range(3)), lake, ray_executor, limits=limits)
    processes = {row.power for row in lake.read(Power, summary.key).values()}
    assert summary.done == 3
    assert len(processes) >= 2


def test_two_workers_share_a_gpu() -> None:
    half = Resources(cpus=0.5, gpus=0.5)
    assert max_workers("x", half, {"CPU": 2, "GPU": 1}) == 2
    assert max_workers("x", dataclasses.replace(half, gpus=1.0), {"CPU": 2, "GPU": 1}) == 1


def test_workers_serve_one_stage_after_another(tmp_path: Path, ray_executor: RayExecutor) -> None:
    lake = Lake(tmp_path)
    for exponent in (2, 3):
        run_stage(PowerStage(PowerConfig(exponent=exponent)), numbers(1, 2, 3, 4), lake, ray_executor)
    entries = lake.table(LedgerEntry, columns=["stage_key", "worker"]).to_pylist()
    by_key: dict[str, set[str]] = {}
    for entry in entries:
        by_key.setdefault(entry["stage_key"], set()).add(entry["worker"])
    first, second = by_key.values()
    assert first & second


def test_the_stages_of_a_curation_can_share_their_workers(tmp_path: Path) -> None:
    stages = make_stages(load_curate_recipe("tabletop"), Lake(tmp_path))
    assert {stage.resources for stage in stages.values()} == {LIGHT}


def test_the_metrics_endpoint_shows_the_stage(tmp_path: Path, ray_executor: RayExecutor) -> None:
    stage = PowerStage(PowerConfig(fail_every=5, seconds=0.01))
    run_stage(stage, numbers(*range(1, 21)), Lake(tmp_path), ray_executor)
    port = ray.nodes()[0]["MetricsExportPort"]
    deadline = time.monotonic() + 120
    wanted = ("harp_items", "harp_item_seconds_bucket", "harp_queued_items", "harp_items_per_second")
    while True:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read().decode()
        lines = [line for line in text.splitlines() if 'stage="power"' in line.lower().replace("'", '"')]
        failed = [line for line in lines if "harp_items" in line and '="failed"' in line]
        counted = sum(float(line.rsplit(" ", 1)[1]) for line in failed)
        if counted >= 4 and all(any(name in line for line in lines) for name in wanted):
            break
        assert time.monotonic() < deadline, "\n".join(lines)
        time.sleep(1)
