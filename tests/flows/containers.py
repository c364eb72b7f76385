"""The services of docker/compose.yaml as processes: their commands, environments and health checks, outside containers.

Host names become loopback and ports free ones; Postgres is a cluster of its own with the data of the file, and moto's server
stands for MinIO. What only an engine can do is not covered: the image, users, volumes, and the order of the start, which
the test follows by hand.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import yaml

from tests.flows.api import PATIENCE, Api, until

ROOT = Path(__file__).parents[2]
HOSTS = re.compile(r"^postgres$|\b(?:prefect-server|ray-head|object-store)(?=:)|\b0\.0\.0\.0\b")
PORTS = ("4200", "5432", "6379", "8080", "8265", "9000")
VARIABLE = re.compile(r"\$\{(\w+):(?:-([^}]*)|\?[^}]*)\}")
IMAGE = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "RAY_USAGE_STATS_ENABLED": "0"}
"""Set in docker/Dockerfile."""
OTHERS = re.compile("^(PREFECT|RAY|AWS|POSTGRES)_")


class Containers(Api):
    """Services by name, in a folder that stands for /harp.

    Args:
        secrets: what docker/.env would hold.
    """

    def __init__(self, folder: Path, secrets: dict[str, str]) -> None:
        self.folder, self._secrets = folder, secrets
        self._ports = {port: str(free_port()) for port in PORTS}
        self._services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
        self._running: dict[str, subprocess.Popen] = {}
        self._postgres: tempfile.TemporaryDirectory | None = None
        user, password = secrets["PREFECT_AUTH_STRING"].split(":")
        super().__init__(f"http://127.0.0.1:{self._ports['4200']}/api", (user, password))
        for name in ("prefect.yaml", "automations.yaml"):
            shutil.copy(ROOT / name, folder / name)
        (folder / "home").mkdir()
        shutil.copytree(ROOT / "flows", folder / "flows", ignore=shutil.ignore_patterns("__pycache__"))

    def start_postgres(self) -> None:
        """A cluster such as the image makes from its environment; Postgres does not run as root."""
        environment = self._environment("postgres")
        # Not below pytest's own folder: every session of pytest closes that to other users when it starts.
        self._postgres = tempfile.TemporaryDirectory(prefix="harp-postgres-")
        home = Path(self._postgres.name)
        password = home / "password"
        password.write_text(environment["POSTGRES_PASSWORD"])
        runner = []
        if os.geteuid() == 0:
            runner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            for path in (home, password):
                shutil.chown(path, "postgres", "postgres")
        data, port = str(home / "data"), self._ports["5432"]
        user = environment["POSTGRES_USER"]
        subprocess.run(
            [*runner, binary("initdb"), "--pgdata", data, "--username", user, "--pwfile", str(password), "--auth", "scram-sha-256"],
            check=True, capture_output=True, cwd=home,
        )  # fmt: skip
        command = [*runner, binary("postgres"), "-D", data, "-p", port, "-k", str(home), "-h", "127.0.0.1"]
        self._start("postgres", command, dict(os.environ))
        self.wait_until_healthy("postgres")
        subprocess.run(
            [binary("createdb"), "--host", "127.0.0.1", "--port", port, "--username", user, environment["POSTGRES_DB"]],
            check=True, env={**os.environ, "PGPASSWORD": environment["POSTGRES_PASSWORD"]},
        )  # fmt: skip

    def start_object_store(self) -> None:
        """Any server that speaks S3, at the address of the compose file."""
        command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", self._ports["9000"]]
        self._start("object-store", command, dict(os.environ))

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", int(self._ports["9000"]))) == 0

        until(listens, "the object store comes up")

    def start(self, name: str) -> subprocess.Popen:
        """A service by its command."""
        return self._start(name, self._local(self._services[name]["command"]), self._environment(name))

    def healthy(self, name: str) -> bool:
        """What the health check of a service says."""
        process = self._running[name]
        assert process.poll() is None, f"{name} has ended:\n{self.log(name)[-3000:]}"
        kind, *command = self._local(self._services[name]["healthcheck"]["test"])
        assert kind == "CMD"
        environment = {**self._environment(name), "PGPORT": self._ports["5432"], "PGHOST": "127.0.0.1"}
        return (
            subprocess.run(command, check=False, capture_output=True, timeout=120, env=environment).returncode
            == 0
        )

    def wait_until_healthy(self, name: str) -> None:
        until(lambda: self.healthy(name), f"{name} is healthy", 300)

    def start_node(self, name: str) -> None:
        """A node of Ray, until it has joined; again where it ends, as by the file's `restart`.

        A node gives its agents 15 s to come up, which they exceed on a busy machine.
        """
        self.start(name)

        def joined() -> bool:
            if self._running[name].poll() is not None:
                self.start(name)
            return "Ray runtime started" in self.log(name)

        until(joined, f"{name} joins the cluster")
        self.wait_until_healthy(name)

    def command(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Any other command, as by `docker compose exec`."""
        return subprocess.run(
            command, check=False, cwd=self.folder, env=self._environment(service), capture_output=True, text=True,
            timeout=PATIENCE,
        )  # fmt: skip

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def port(self, inside: str) -> str:
        """Where a port of the containers is served."""
        return self._ports[inside]

    def process(self, name: str) -> psutil.Process:
        return psutil.Process(self._running[name].pid)

    def stop(self) -> None:
        """All services, and the node that the worker's script put into the background."""
        for process in reversed(self._running.values()):
            if process.poll() is None:
                process.terminate()
        for process in reversed(self._running.values()):
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
        for process in self.nodes():
            process.kill()
        if self._postgres is not None:
            self._postgres.cleanup()

    def nodes(self) -> list[psutil.Process]:
        """Ray's own processes of this cluster, wherever they were started."""
        address = f"127.0.0.1:{self._ports['6379']}"
        found = []
        for process in psutil.process_iter():
            try:
                command = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if "/ray/" in command and address in command:
                found.append(process)
        return found

    def _start(self, name: str, command: list[str], environment: dict[str, str]) -> subprocess.Popen:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        self._running[name] = process
        return process

    def _environment(self, name: str) -> dict[str, str]:
        own = self._services[name].get("environment", {})
        path = os.pathsep.join([str(Path(sys.executable).parent), str(ROOT / "docker"), os.environ["PATH"]])
        return {
            **{key: value for key, value in os.environ.items() if not OTHERS.match(key)},
            **IMAGE,
            **{key: self._local_text(str(value)) for key, value in own.items()},
            "PATH": path,
            "PREFECT_HOME": str(self.folder / "home" / name),
            "PREFECT_WORKER_WEBSERVER_PORT": self._ports["8080"],
        }

    def _local(self, command: list[str]) -> list[str]:
        return [self._local_text(word) for word in command]

    def _local_text(self, text: str) -> str:
        """With the variables of docker/.env, and addresses of this machine."""
        text = VARIABLE.sub(lambda found: self._secrets.get(found[1]) or found[2] or "", text)
        text = HOSTS.sub("127.0.0.1", text)
        for inside, outside in self._ports.items():
            text = re.sub(rf"\b{inside}\b", outside, text)
        return text


def binary(name: str) -> str:
    """Of Postgres, which Debian keeps out of the path."""
    found = shutil.which(name) or next(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), None)
    assert found, f"{name} is absent"
    return found


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
