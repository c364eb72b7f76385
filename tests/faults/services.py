"""What runs beside a curation: a Prefect server that may be killed, a Ray cluster that goes on."""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from tests.faults.processes import kill_tree

RAY = Path(sys.executable).with_name("ray")


class PrefectServer:
    """A Prefect server on loopback that can be killed and started again."""

    def __init__(self, home: Path) -> None:
        (self.port,) = free_ports(1)
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
    """On loopback, with two CPUs. Started again where it ends: Ray gives its agents 15 s, too few on a busy machine."""

    def __init__(self, folder: Path) -> None:
        (port,) = free_ports(1)
        address = f"127.0.0.1:{port}"
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
        self.environment = {"RAY_ADDRESS": address, **token}
        """Of a run on it. Without the token's variables `ray start` may want one that a driver with an address does not give."""
        log = folder / "ray.log"
        command = [
            str(RAY), "start", "--head", "--port", str(port), "--num-cpus", "2",
            "--include-dashboard", "false", "--object-store-memory", str(2**28), "--disable-usage-stats", "--block",
        ]  # fmt: skip
        environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | token
        with log.open("ab") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
            deadline = time.monotonic() + 600
            while "Ray runtime started" not in log.read_text():
                assert time.monotonic() < deadline, log.read_text()[-2000:]
                if self.process.poll() is not None:
                    self.process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
                time.sleep(0.5)

    def stop(self) -> None:
        """All of its processes."""
        self.process.terminate()
        self.process.wait(60)


def free_ports(number: int) -> list[int]:
    """Different ones, on loopback."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]
