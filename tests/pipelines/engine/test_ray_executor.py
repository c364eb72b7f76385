"""Ray actors: the same tables as in process, and blame for those alone who kill their worker."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from data_schemas.errors import UserError
from data_schemas.ledger import LedgerEntry
from harp.ray_address import RayUnavailable
from pipelines.engine import ray_pool
from pipelines.engine.executors import LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.engine.ray_executor import RayExecutor
from pipelines.engine.ray_pool import max_workers
from pipelines.engine.runner import run_stage
from pipelines.engine.stage import Done, Outcome, Resources
from tests.pipelines.engine.toy import Power, PowerConfig, PowerStage, numbers, power_row


def content(lake: Lake) -> list:
    table = lake.table(Power).drop_columns(["committed_at"])
    return sorted(table.to_pylist(), key=lambda record: record["item_id"])


def verdicts(lake: Lake) -> list:
    columns = ["item_id", "stage_key", "attempt", "outcome", "reason", "retryable"]
    return sorted(lake.table(LedgerEntry, columns=columns).to_pylist(), key=lambda r: r["item_id"])


def test_both_executors_give_the_same_tables(tmp_path: Path, ray_executor: RayExecutor) -> None:
    config = PowerConfig(fail_every=5, raise_every=7, filter_every=3)
    lakes = {}
    for name, executor in (("local", LocalExecutor()), ("ray", ray_executor)):
        lakes[name] = Lake(tmp_path / name)
        run_stage(PowerStage(config, batch_size=3), numbers(*range(1, 40)), lakes[name], executor)
    assert content(lakes["ray"]) == content(lakes["local"])
    assert verdicts(lakes["ray"]) == verdicts(lakes["local"])
    assert len(content(lakes["ray"])) > 10


class MeetingStage(PowerStage):
    """Finishes no item before two processes have begun one."""

    name = "meeting"

    def __init__(self, folder: Path) -> None:
        super().__init__(PowerConfig(seconds=0.1))
        self._folder = folder

    def process(self, batch: Sequence[int]) -> list[Outcome]:
        (self._folder / str(os.getpid())).touch()
        while len(list(self._folder.iterdir())) < 2:
            time.sleep(0.05)
        return super().process(batch)


def test_two_workers_share_the_work(tmp_path: Path, ray_executor: RayExecutor) -> None:
    lake, folder = Lake(tmp_path / "lake"), tmp_path / "meeting"
    folder.mkdir()
    run_stage(MeetingStage(folder), numbers(*range(6)), lake, ray_executor)
    entries = lake.table(LedgerEntry).to_pylist()
    assert len({entry["worker"] for entry in entries}) == 2
    assert all(entry["seconds"] >= 0.1 for entry in entries)
    assert all(entry["peak_memory_mb"] > 10 for entry in entries)
    assert f":{os.getpid()}" not in {entry["worker"] for entry in entries}


def test_an_item_that_kills_twice_is_quarantined_alone(tmp_path: Path, ray_executor: RayExecutor) -> None:
    lake = Lake(tmp_path / "lake")
    stage = PowerStage(PowerConfig(die_on=(6,)), batch_size=4)
    summary = run_stage(stage, numbers(*range(12)), lake, ray_executor)
    assert summary.failed == {"worker_died": 1}
    assert [entry.label for entry in summary.failures] == ["number 6"]
    assert {row.value for row in lake.read(Power, summary.key).values()} == set(range(12)) - {6}
    assert run_stage(stage, numbers(*range(12)), lake, ray_executor).processed == 0


def test_a_worker_that_dies_once_costs_nothing(tmp_path: Path, ray_executor: RayExecutor) -> None:
    lake = Lake(tmp_path / "lake")
    stage = PowerStage(PowerConfig(die_on=(0,), die_once_in=str(tmp_path)))
    shown: list[int] = []
    summary = run_stage(
        stage,
        numbers(*range(10)),
        lake,
        ray_executor,
        progress=lambda finished, total: shown.append(finished),
    )
    assert (summary.done, summary.failed) == (10, {})
    assert shown == list(range(11)), (
        "the attempt that was lost is no progress, and does not begin the stage anew"
    )


def test_what_setup_raises_reaches_the_caller(tmp_path: Path, ray_executor: RayExecutor) -> None:
    lake = Lake(tmp_path)
    with pytest.raises(UserError, match="no weights here"):
        run_stage(PowerStage(PowerConfig(bad_setup=True)), numbers(1, 2), lake, ray_executor)
    assert lake.table(LedgerEntry).num_rows == 0


class ThreadsStage(PowerStage):
    """Reports the threads that its worker's libraries would use."""

    name = "threads"

    def process(self, batch: Sequence[int]) -> list[Outcome]:
        return [Done(power_row(int(os.environ["OMP_NUM_THREADS"]), 1)) for _ in batch]


def test_threads_follow_the_stages_resources(tmp_path: Path, ray_executor: RayExecutor) -> None:
    stage = ThreadsStage(PowerConfig())
    stage.resources = Resources(cpus=2)
    lake = Lake(tmp_path)
    summary = run_stage(stage, numbers(1), lake, ray_executor)
    assert [row.value for row in lake.read(Power, summary.key).values()] == [2]


def test_workers_fit_the_cluster() -> None:
    half = Resources(cpus=1, gpus=0.5)
    assert max_workers("x", half, {"CPU": 16, "GPU": 2}) == 4
    assert max_workers("x", half, {"CPU": 3, "GPU": 2}) == 3
    with pytest.raises(UserError, match=r"stage x needs 0.5 GPUs and the Ray cluster has 0"):
        max_workers("x", half, {"CPU": 16})


@pytest.mark.parametrize(
    ("cluster", "gpus", "workers"),
    [({"CPU": 32, "GPU": 1}, 1.0, 1), ({"CPU": 32, "GPU": 8}, 1.0, 8), ({"CPU": 32}, 0.0, 32)],
)
def test_a_gpu_each_where_the_cluster_has_any(cluster: dict[str, float], gpus: float, workers: int) -> None:
    needs = Resources(cpus=1, gpus=None).on(cluster)
    assert needs == Resources(cpus=1, gpus=gpus), "workers of other stages are compared with these"
    assert max_workers("x", needs, cluster) == workers


@pytest.mark.parametrize("gpus", [0.0, 0.5, 2.0])
def test_a_number_of_gpus_stays_whatever_the_cluster_has(gpus: float) -> None:
    needs = Resources(gpus=gpus)
    assert needs.on({"CPU": 4}) == needs.on({"CPU": 4, "GPU": 4}) == needs


def test_no_key_depends_on_resources() -> None:
    keys = set()
    for gpus in (None, 0.0, 1.0):
        stage = PowerStage(PowerConfig())
        stage.resources = Resources(gpus=gpus)
        keys.add(stage.key(["upstream"]))
    assert len(keys) == 1


class GpuStage(PowerStage):
    """Reports how many GPUs its worker holds, and how many its libraries would see."""

    name = "gpus"

    def process(self, batch: Sequence[int]) -> list[Outcome]:
        seen = [device for device in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if device]
        return [Done(replace(power_row(len(ray.get_gpu_ids()), 1), power=len(seen))) for _ in batch]


@pytest.mark.parametrize(("gpus", "held"), [(None, 1), (0.0, 0)])
def test_a_worker_holds_its_gpu_and_sees_no_other(
    gpus: float | None, held: int, tmp_path: Path, ray_executor: RayExecutor
) -> None:
    stage, lake = GpuStage(PowerConfig()), Lake(tmp_path)
    stage.resources = Resources(cpus=1, gpus=gpus)
    summary = run_stage(stage, numbers(1, 2), lake, ray_executor)
    rows = lake.read(Power, summary.key).values()
    assert [(row.value, row.power) for row in rows] == [(held, held)] * 2
    assert stage.resources.gpus == gpus, "the next run may be on another cluster"


def test_a_ray_that_does_not_start_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine so busy that Ray's processes come up too late; flows take it for something that passes."""

    def too_late(**options: object) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for name, fake in (("is_initialized", lambda: False), ("init", too_late), ("shutdown", lambda: None)):
        monkeypatch.setattr(ray, name, fake)
    with pytest.raises(
        RayUnavailable, match=r"in 4 attempts .*timed out during startup.*local executor"
    ) as raised:
        run_stage(PowerStage(PowerConfig()), numbers(1), Lake(tmp_path), RayExecutor())
    assert isinstance(raised.value, ConnectionError)


def test_ray_is_left_to_its_owner(tmp_path: Path, ray_executor: RayExecutor) -> None:
    run_stage(PowerStage(PowerConfig()), numbers(1), Lake(tmp_path), ray_executor)
    with RayExecutor() as guest:
        run_stage(PowerStage(PowerConfig()), numbers(1, 2), Lake(tmp_path), guest)
    assert ray.is_initialized()


def test_workers_end_with_their_stage(tmp_path: Path, ray_executor: RayExecutor) -> None:
    results = ray_executor.run(PowerStage(PowerConfig()), numbers(1, 2, 3))
    next(result for result in results if result is not None)
    results.close()
    (result,) = [r for r in ray_executor.run(PowerStage(PowerConfig()), numbers(4)) if r is not None]
    assert isinstance(result.outcome, Done)


def test_a_wait_for_a_slow_item_is_no_wait_for_the_consumer(
    monkeypatch: pytest.MonkeyPatch, ray_executor: RayExecutor
) -> None:
    monkeypatch.setattr(ray_pool, "PATIENCE_SECONDS", 0.1)
    *waits, result = ray_executor.run(PowerStage(PowerConfig(seconds=1.0)), numbers(1))
    assert result is not None
    assert isinstance(result.outcome, Done)
    assert len(waits) >= 5
    assert set(waits) == {None}
