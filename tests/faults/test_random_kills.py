"""SIGKILL at a random moment, again and again: what is in the lake afterwards is what an undisturbed run leaves.

`make test-faults` does 52 runs, 13 for each victim: a worker, the driver, the process of the flow, the Prefect server.
In half of them Ray belongs to the run and dies with it, in the others it is a cluster that goes on.
HARP_FAULT_RUNS changes the number, HARP_FAULT_SEED the moments, and HARP_FAULT_LOG names a file to which each run adds
one line: victim, moment in seconds after the run has found its clips, the stage that was at work.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from data_schemas.errors import UserError
from pipelines.engine.lake import Lake
from pipelines.runs import latest_run
from tests.faults.conftest import curation, wait_until_begun
from tests.faults.lakes import fingerprint
from tests.faults.processes import alive, descendants, kill_tree, workers
from tests.faults.services import PrefectServer, RayCluster

VICTIMS = ("worker", "driver", "flow", "server")
NUM_RUNS = int(os.environ.get("HARP_FAULT_RUNS", "4"))
SEED = os.environ.get("HARP_FAULT_SEED", "0")
PATIENCE = 1800.0
STRAGGLERS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent", "workers/default_worker.py")
STRAGGLER_SECONDS = 150.0
"""All of Ray ends at once with its driver but two agents, which try for 60 s to report to what died as well, and
workers that were still starting, which try for 25 s to reach it."""

TOO_LATE = "too late: the run was over"

FLOW = "import sys; from flows.curate import curate; curate('tabletop', sys.argv[1], sys.argv[2])"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    server = PrefectServer(tmp_path_factory.mktemp("prefect"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def stragglers() -> Iterator[list[psutil.Process]]:
    """Of Rays whose driver was killed; at the end none may be left."""
    stragglers: list[psutil.Process] = []
    yield stragglers
    deadline = time.monotonic() + STRAGGLER_SECONDS
    while left := alive(stragglers):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    cluster = RayCluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


def on_cluster(run: int) -> bool:
    """Four runs with a Ray of their own and four on a cluster that stays, in turn.

    The first are continued in one process, the others on the cluster.
    """
    return run // len(VICTIMS) % 2 == 1


def kill_worker(run: subprocess.Popen, home: subprocess.Popen, lake: Path) -> str:
    """One of the workers, once there are some, as Ray may still be starting; the stage that was at work."""
    while run.poll() is None:
        if chosen := workers(home):
            stage = at_work(lake)
            random.choice(chosen).kill()
            return stage
        time.sleep(0.05)
    return TOO_LATE


def at_work(lake: Path) -> str:
    """The stage that the run is at, as its record says."""
    try:
        current = latest_run(Lake(lake)).current
    except UserError:  # it has not begun
        current = None
    return current.name if current else "between stages"


@pytest.mark.parametrize("run", range(NUM_RUNS))
def test_a_killed_run_that_is_continued_leaves_what_an_undisturbed_one_does(
    run: int,
    raw: Path,
    undisturbed: tuple[dict[str, str], float],
    stragglers: list[psutil.Process],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    expected, seconds = undisturbed
    victim = VICTIMS[run % len(VICTIMS)]
    moment = random.Random(f"{SEED}/{run}").uniform(0.0, 1.0) * seconds
    lake = tmp_path / "lake"
    environment: Mapping[str, str] = os.environ
    command = curation(raw, lake)
    has_server = victim in ("flow", "server")
    server: PrefectServer | None = request.getfixturevalue("server") if has_server else None
    if server:
        environment, command = server.environment, [sys.executable, "-c", FLOW, str(raw), str(lake)]

    cluster: RayCluster | None = request.getfixturevalue("cluster") if on_cluster(run) else None
    if cluster:
        environment = {**environment, **cluster.environment}

    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    home = cluster.process if cluster else process
    left: list[psutil.Process] = []
    killed = TOO_LATE
    try:
        wait_until_begun(process, lake)
        time.sleep(moment)
        if process.poll() is None:
            left = [*descendants(process), *workers(home)]
            killed = at_work(lake)
            if victim == "worker":
                killed = kill_worker(process, home, lake)
            elif server and victim == "server":
                server.kill()
                server.start()
            else:
                process.kill()
        status = process.wait(PATIENCE)
    finally:
        if process.poll() is None:
            kill_tree(process.pid)
    if victim == "worker":
        assert status == 0, "the death of a worker must not end the run"
    ended = time.monotonic()
    # At once, while processes of the killed run may still be there.
    again = curation(raw, lake, "ray" if cluster else "local")
    subprocess.run(again, env=environment, check=True, capture_output=True, timeout=PATIENCE)
    assert fingerprint(lake) == expected
    remaining = alive(left)
    stragglers += [p for p, command in remaining.items() if any(name in command for name in STRAGGLERS)]
    assert not remaining.keys() - set(stragglers), f"still there: {remaining}"
    if log := os.environ.get("HARP_FAULT_LOG"):
        line = {"run": run, "victim": victim, "cluster": on_cluster(run), "moment": round(moment, 1)}
        line |= {
            "killed": killed,
            "status": status,
            "seconds_to_continue": round(time.monotonic() - ended, 1),
        }
        with Path(log).open("a") as file:
            file.write(json.dumps(line) + "\n")
