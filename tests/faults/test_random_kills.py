"""SIGKILL at a random moment, again and again: what is in the lake afterwards is what an undisturbed run leaves.

`make test-faults` does 52 runs, 13 for each victim: a worker, the driver, the process of the flow, the Prefect server.
HARP_FAULT_RUNS changes the number, HARP_FAULT_SEED the moments, and HARP_FAULT_LOG names a file to which each run adds
one line: victim, moment in seconds after the run has found its clips, the stage that was at work.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipelines.engine.lake import Lake
from pipelines.runs import runs
from tests.faults.conftest import curation, wait_until_begun
from tests.faults.lakes import fingerprint

VICTIMS = ("worker", "driver", "flow", "server")
NUM_RUNS = int(os.environ.get("HARP_FAULT_RUNS", "4"))
SEED = os.environ.get("HARP_FAULT_SEED", "0")
PATIENCE = 1800.0
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
AGENT_SECONDS = 150.0
"""All of Ray ends at once with its driver but two agents, which try for 60 s to report to what died as well."""

FLOW = "import sys; from flows.curate import curate; curate('tabletop', sys.argv[1], sys.argv[2])"

pytestmark = pytest.mark.slow


class PrefectServer:
    """A Prefect server on loopback that can be killed and started again."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.environment = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_API_URL": self.url}
        self._log = home / "server.log"

    def start(self) -> None:
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--port", str(self.port)], env=self.environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 300
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=5)
                return
            except OSError:
                assert self._process.poll() is None, self._log.read_text()[-2000:]
                assert time.monotonic() < deadline, "the Prefect server does not come up"
                time.sleep(0.5)

    def kill(self) -> None:
        kill_tree(self._process.pid)
        self._process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    server = PrefectServer(tmp_path_factory.mktemp("prefect"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def agents() -> Iterator[list[psutil.Process]]:
    """Of Rays whose driver was killed; at the end none may be left."""
    agents: list[psutil.Process] = []
    yield agents
    deadline = time.monotonic() + AGENT_SECONDS
    while left := alive(agents):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.5)


def alive(processes: Sequence[psutil.Process]) -> dict[psutil.Process, str]:
    """Those that have not ended, and how their commands begin."""
    found = {}
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found[process] = " ".join(process.cmdline()[:2])
        except psutil.NoSuchProcess:
            continue
    return found


def kill_tree(pid: int) -> None:
    """SIGKILL a process and all below it."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def descendants(process: subprocess.Popen) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def workers(process: subprocess.Popen) -> list[psutil.Process]:
    """Ray workers below a driver that hold a stage."""
    return [
        child for child, command in alive(descendants(process)).items() if command.startswith("ray::Worker")
    ]


def at_work(lake: Path) -> str:
    """The stage that the run is at, as its record says."""
    records = runs(Lake(lake)) if (lake / "runs").is_dir() else []
    return next((record.current.name for record in records if record.current), "between stages")


@pytest.mark.parametrize("run", range(NUM_RUNS))
def test_a_killed_run_that_is_continued_leaves_what_an_undisturbed_one_does(
    run: int,
    raw: Path,
    undisturbed: tuple[dict[str, str], float],
    agents: list[psutil.Process],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    expected, seconds = undisturbed
    victim = VICTIMS[run % len(VICTIMS)]
    moment = random.Random(f"{SEED}/{run}").uniform(0.0, 1.0) * seconds
    lake = tmp_path / "lake"
    environment = dict(os.environ)
    command = curation(raw, lake)
    if victim in ("flow", "server"):
        server: PrefectServer = request.getfixturevalue("server")
        environment, command = server.environment, [sys.executable, "-c", FLOW, str(raw), str(lake)]

    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    left: list[psutil.Process] = []
    killed = "too late: the run was over"
    try:
        wait_until_begun(process, lake)
        time.sleep(moment)
        if process.poll() is None:
            killed = at_work(lake)
            left = descendants(process)
            if victim == "worker":
                while not (chosen := workers(process)) and process.poll() is None:
                    time.sleep(0.05)  # Ray is still starting
                killed = at_work(lake)
                if chosen:
                    random.Random(run).choice(chosen).kill()
                else:
                    killed = "too late: the run was over"
            elif victim == "server":
                server.kill()
                server.start()
            else:
                process.send_signal(signal.SIGKILL)
        status = process.wait(PATIENCE)
    finally:
        if process.poll() is None:
            kill_tree(process.pid)
    if victim == "worker":
        assert status == 0, "the death of a worker must not end the run"
    ended = time.monotonic()
    # At once, while processes of the killed run may still be there; by Ray and in one process in turn.
    executor = ("ray", "local")[run // len(VICTIMS) % 2]
    subprocess.run(curation(raw, lake, executor), check=True, capture_output=True, timeout=PATIENCE)
    assert fingerprint(lake) == expected
    remaining = alive(left)
    agents += [process for process, command in remaining.items() if command.startswith(AGENTS)]
    assert not remaining.keys() - set(agents), f"still there: {remaining}"
    if log := os.environ.get("HARP_FAULT_LOG"):
        line = {"run": run, "victim": victim, "moment": round(moment, 1), "killed": killed, "status": status}
        with Path(log).open("a") as file:
            file.write(json.dumps(line | {"seconds_to_continue": round(time.monotonic() - ended, 1)}) + "\n")
