"""What runs beside a curation: a Prefect server that may be killed, a Ray cluster that goes on."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.faults.processes import kill_tree

RAY = Path(sys.executable).with_name("ray")


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


class RayCluster:
    """On loopback, with two CPUs; comes up again where its start fails, as Ray's may on a busy machine."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self._log = folder / "ray.log"
        self._command = [
            str(RAY), "start", "--head", "--node-ip-address", "127.0.0.1", "--port", str(port), "--num-cpus", "2",
            "--include-dashboard", "false", "--object-store-memory", str(2**28), "--disable-usage-stats", "--block",
        ]  # fmt: skip
        self._start()
        deadline = time.monotonic() + 600
        while "Ray runtime started" not in self._log.read_text():
            assert time.monotonic() < deadline, self._log.read_text()[-2000:]
            if self.process.poll() is not None:
                self._start()
            time.sleep(0.5)

    def stop(self) -> None:
        """All of its processes."""
        self.process.terminate()
        self.process.wait(60)

    def _start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment)
