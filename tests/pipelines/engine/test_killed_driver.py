"""A driver killed in the middle: what was committed stays, the next run does the rest and only that."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from data_schemas.ledger import LedgerEntry
from pipelines.engine.executors import LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.engine.runner import run_stage
from tests.pipelines.engine.toy import Power, PowerConfig, PowerStage, numbers

NUM_ITEMS = 60


@pytest.mark.parametrize("executor", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_the_next_run_finishes_without_duplicates(tmp_path: Path, executor: str) -> None:
    lake = Lake(tmp_path / "lake")
    stage = PowerStage(PowerConfig(seconds=0.05))
    key = stage.key([])
    arguments = [lake.root, executor, str(NUM_ITEMS), "0.05"]
    driver = subprocess.Popen([sys.executable, "-m", "tests.pipelines.engine.driver", *arguments])
    children: list[psutil.Process] = []
    try:
        deadline = time.monotonic() + 60
        while len(lake.ids(Power, key)) < 5:
            assert driver.poll() is None, "the driver ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        children = psutil.Process(driver.pid).children(recursive=True)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        for child in children:
            if child.is_running():
                child.kill()
    committed = lake.ids(Power, key)
    assert 5 <= len(committed) < NUM_ITEMS

    summary = run_stage(stage, numbers(*range(NUM_ITEMS)), lake, LocalExecutor())
    assert summary.already_done == len(committed)
    assert summary.processed == NUM_ITEMS - len(committed)
    rows = lake.table(Power, key, ["item_id", "power"]).to_pylist()
    assert sorted(row["power"] for row in rows) == [v**2 for v in range(NUM_ITEMS)]
    assert len({row["item_id"] for row in rows}) == len(rows)
    entries = lake.table(LedgerEntry, key, ["item_id", "outcome"]).to_pylist()
    assert sorted(e["item_id"] for e in entries) == sorted(row["item_id"] for row in rows)
