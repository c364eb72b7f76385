"""A Prefect server and a process worker on loopback, with the repository's deployments: what a data team runs."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

from tests.flows.api import PATIENCE, Api, until

ROOT = Path(__file__).parents[2]


class Service(Api):
    """Runs in a folder that holds prefect.yaml, the flows, and what a test puts under `data`."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.folder = folder
        super().__init__(f"http://127.0.0.1:{port}/api")
        self.environment = {
            **os.environ,
            "PREFECT_HOME": str(folder / "home"),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
        }
        for name in ("prefect.yaml", "automations.yaml"):
            shutil.copy(ROOT / name, folder / name)
        shutil.copytree(ROOT / "flows", folder / "flows", ignore=shutil.ignore_patterns("__pycache__"))
        self._server = self._start(
            "server.log", "server", "start", "--host", "127.0.0.1", "--port", str(port)
        )
        until(self._comes_up, "the Prefect server comes up")
        self._worker: subprocess.Popen | None = None

    def prefect(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command that has to succeed."""
        result = self.try_prefect(*arguments)
        assert result.returncode == 0, result.stdout + result.stderr
        return result

    def try_prefect(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            check=False, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip

    def script(self, name: str) -> None:
        """One of docker/, outside a container."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(
            [str(ROOT / "docker" / name)], check=True, cwd=self.folder, env={**self.environment, "PATH": path},
            capture_output=True, timeout=PATIENCE,
        )  # fmt: skip

    def start_worker(self) -> None:
        self._worker = self._start("worker.log", "worker", "start", "--pool", "harp", "--type", "process")

    def kill_worker(self) -> None:
        """SIGKILL, with all flows that it started, as when a machine loses its power."""
        assert self._worker is not None
        family = [
            psutil.Process(self._worker.pid),
            *psutil.Process(self._worker.pid).children(recursive=True),
        ]
        for process in family:
            if process.is_running():
                process.kill()
        self._worker.wait()
        self._worker = None

    def stop(self) -> None:
        """A worker would wait for its flows."""
        if self._worker is not None:
            self.kill_worker()
        self._server.terminate()
        self._server.wait(120)

    def flow_processes(self) -> list[psutil.Process]:
        """Of the worker: one per run."""
        assert self._worker is not None
        return psutil.Process(self._worker.pid).children()

    def _comes_up(self) -> bool:
        assert self._server.poll() is None, (self.folder / "server.log").read_text()[-2000:]
        return self.answers()

    def _start(self, log: str, *arguments: str) -> subprocess.Popen:
        with (self.folder / log).open("ab") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "prefect", *arguments],
                cwd=self.folder, env=self.environment, stdout=file, stderr=file,
            )  # fmt: skip


def named(start: str, processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those whose command begins like this; what has ended meanwhile has none."""
    found = []
    for process in processes:
        try:
            found += [process] if "".join(process.cmdline()[:1]).startswith(start) else []
        except psutil.Error:
            continue
    return found


def ray_workers(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Ray's processes below these."""
    family = [
        child for process in processes if process.is_running() for child in process.children(recursive=True)
    ]
    return [process for process in family if "ray" in process.name() or "raylet" in process.name()]
