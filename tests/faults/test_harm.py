"""Segmentation faults, full disks, read-only lakes, the memory monitor, and two runs at once."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from data_schemas.ledger import LedgerEntry
from pipelines.engine.lake import Lake
from tests.faults.conftest import curation
from tests.faults.lakes import fingerprint
from tests.pipelines.engine.toy import Power

NUM_ITEMS = 24
FILE_LIMIT = 80_000
"""Bytes: smaller than a micro-batch of four rows of 32 kB."""


def run(
    lake: Path,
    stage: str,
    executor: str = "local",
    num_items: int = NUM_ITEMS,
    before: Callable[[], None] | None = None,
    env: dict[str, str] | None = None,
):
    command = [sys.executable, "-m", "tests.faults.stages", str(lake), stage, executor, str(num_items)]
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
        preexec_fn=before,
        env={**os.environ, **(env or {})},
    )


def left_by(process: subprocess.CompletedProcess[str]) -> dict:
    """What the run says at its end; Ray writes of dead workers to the same stream."""
    return json.loads(process.stdout.splitlines()[-1])


def values(lake: Path) -> list[int]:
    """Of all rows, in order; one that stands twice comes twice."""
    return sorted(Lake(lake).table(Power).column("value").to_pylist())


def limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT))


def test_a_file_that_cannot_be_written_loses_only_its_micro_batch(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    assert run(lake, "bulky", num_items=1).returncode == 0
    failed = run(lake, "bulky", before=limit_file_size)
    assert failed.returncode == 2
    assert "cannot be written to" in failed.stderr
    assert "run again" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert values(lake) == [0]
    assert run(lake, "bulky").returncode == 0
    assert values(lake) == list(range(NUM_ITEMS))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a file system takes root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_keeps_what_was_committed(small_disk: Path) -> None:
    lake = small_disk / "lake"
    failed = run(lake, "bulky")
    assert failed.returncode == 2, failed.stderr
    assert "make room" in failed.stderr
    committed = values(lake)
    assert committed == list(range(len(committed)))
    assert 0 < len(committed) < NUM_ITEMS
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    again = run(lake, "bulky")
    assert left_by(again)["done"] == NUM_ITEMS - len(committed)
    assert values(lake) == list(range(NUM_ITEMS))


def test_a_read_only_lake_says_so(small_disk: Path) -> None:
    lake = small_disk / "lake"
    assert run(lake, "bulky", num_items=2).returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert run(lake, "bulky", num_items=2).returncode == 0, "a run without work writes nothing"
    failed = run(lake, "bulky", num_items=4)
    assert failed.returncode == 2
    assert "Read-only" in failed.stderr
    assert values(lake) == [0, 1]


def test_two_runs_at_once_leave_every_row_once(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    command = [sys.executable, "-m", "tests.pipelines.engine.driver", str(lake), "local", "40", "0.05"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    for process in both:
        process.communicate(timeout=300)
    assert [process.returncode for process in both] == [0, 0]
    assert values(lake) == list(range(40))
    entries = Lake(lake).table(LedgerEntry, columns=["item_id", "outcome"]).to_pylist()
    assert {entry["outcome"] for entry in entries} == {"done"}
    # Once the two have seen each other they take different items.
    assert 40 <= len(entries) < 80


@pytest.mark.slow
def test_a_segmentation_fault_is_blamed_on_its_item_alone(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    result = left_by(run(lake, "segfault", "ray"))
    assert result["failures"] == {"number 5": ["worker_died", False]}
    assert values(lake) == sorted(set(range(NUM_ITEMS)) - {5})


@pytest.mark.slow
def test_what_the_memory_monitor_kills_is_tried_again_another_day(tmp_path: Path) -> None:
    memory = psutil.virtual_memory()
    if memory.available < 10 * 2**30:
        pytest.skip("needs 10 GB of free memory")
    threshold = (memory.total - memory.available + 3 * 2**30) / memory.total
    lake = tmp_path / "lake"
    environment = {"RAY_memory_usage_threshold": f"{threshold:.3f}", "RAY_memory_monitor_refresh_ms": "100"}
    result = left_by(run(lake, "hungry", "ray", 8, env=environment))
    assert result["failures"] == {"number 5": ["out_of_memory", True]}
    assert values(lake) == [0, 1, 2, 3, 4, 6, 7]


@pytest.mark.slow
def test_two_curations_at_once_equal_one(
    raw: Path, undisturbed: tuple[dict[str, str], float], tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    both = [
        subprocess.Popen(curation(raw, lake), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    texts = [process.communicate(timeout=1800)[0].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    assert fingerprint(lake) == undisturbed[0]
