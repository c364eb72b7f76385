"""Jobs in processes: results by name, errors come through, no job outlives its parent."""

import os
import signal
import subprocess
import sys
import time

import pytest

from benchmarks.representation.workers import Report, run_jobs

DRIVER = """
from benchmarks.representation.workers import run_jobs
from tests.benchmarks.representation.test_workers import tick
if __name__ == "__main__":
    run_jobs(tick, {"only": (%r,)}, 1)
"""


def double(number: int, report: Report) -> int:
    report("doubling", 1, 1, "")
    if number < 0:
        raise ValueError(f"{number} is negative")
    return 2 * number


def tick(path: str, report: Report) -> None:
    for _ in range(600):
        with open(path, "a") as file:
            file.write(".")
        time.sleep(0.05)


def test_results_by_name_and_errors():
    assert run_jobs(double, {"a": (1,), "b": (2,), "c": (3,)}, processes=2) == {"a": 2, "b": 4, "c": 6}
    with pytest.raises(ValueError, match="-1 is negative"):
        run_jobs(double, {"a": (-1,)}, processes=1)


def test_a_job_ends_when_its_parent_is_killed(tmp_path):
    ticks = tmp_path / "ticks"
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER % str(ticks))
    parent = subprocess.Popen([sys.executable, str(driver)], env={**os.environ, "PYTHONPATH": os.getcwd()})
    try:
        while not ticks.is_file():
            assert parent.poll() is None
            time.sleep(0.1)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    time.sleep(1.0)
    before = ticks.stat().st_size
    time.sleep(1.0)
    assert ticks.stat().st_size == before
