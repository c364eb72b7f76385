"""Prefect's API, as its UI uses it."""

import time
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import uuid4

import httpx

PATIENCE = 900.0
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
T = TypeVar("T")


class Api:
    """Runs, logs and artifacts of a server.

    Args:
        url: ends in `/api`.
        auth: user and password, where the server asks for them.
    """

    def __init__(self, url: str, auth: tuple[str, str] | None = None) -> None:
        self.url = url
        self._client = httpx.Client(timeout=60, auth=auth)

    def get(self, path: str) -> Any:
        return self._ask("GET", path).json()

    def post(self, path: str, **body: Any) -> Any:
        response = self._ask("POST", path, json=body)
        return response.json() if response.content else None

    def answers(self) -> bool:
        try:
            return self._client.get(f"{self.url}/health").is_success
        except httpx.TransportError:
            return False

    def deployment(self, name: str) -> dict:
        return self.get(f"deployments/name/{name}")

    def run(self, deployment: str, **parameters: Any) -> str:
        """Start a run; its id."""
        path = f"deployments/{self.deployment(deployment)['id']}/create_flow_run"
        return self.post(path, parameters=parameters, idempotency_key=str(uuid4()))["id"]

    def cancel(self, run: str) -> dict:
        """As the UI's button does: the worker is to end the run. Its last state.

        A run says itself that it was aborted (Crashed) before the worker says why (Cancelled).
        """
        self.post(f"flow_runs/{run}/set_state", state={"type": "CANCELLING"}, force=False)

        def cancelled() -> dict | None:
            state = self.state(run)
            assert state["type"] in ("CANCELLING", "CRASHED", "CANCELLED"), state
            return state if state["type"] == "CANCELLED" else None

        return until(cancelled, f"run {run} is cancelled")

    def runs(self, deployment: str) -> list[dict]:
        ids = {"any_": [self.deployment(deployment)["id"]]}
        return self.post("flow_runs/filter", deployments={"id": ids})

    def state(self, run: str) -> dict:
        return self.get(f"flow_runs/{run}")["state"]

    def wait(self, run: str, *wanted: str) -> dict:
        """Until the run is in one of these types of states; fails if it ends in another."""

        def arrived() -> dict | None:
            state = self.state(run)
            if state["type"] in wanted:
                return state
            assert state["type"] not in ENDED, f"{state}\n{self.logs(run)}"
            return None

        return until(arrived, f"run {run} is {' or '.join(wanted)}")

    def logs(self, run: str) -> str:
        entries = self.post("logs/filter", logs={"flow_run_id": {"any_": [run]}})
        return "\n".join(entry["message"] for entry in entries)

    def artifacts(self, run: str) -> dict[str, dict]:
        """Of a run, by key."""
        found = self.post("artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}})
        return {artifact["key"]: artifact for artifact in found}

    def _ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Again while SQLite is busy, which the server says or not; all that is asked here may be asked twice."""

        def answer() -> httpx.Response | None:
            try:
                response = self._client.request(method, f"{self.url}/{path}", **arguments)
            except httpx.TimeoutException:
                return None
            return None if response.is_server_error else response

        return until(answer, "the server is not busy", 300).raise_for_status()


def until(condition: Callable[[], T | None], what: str, seconds: float = PATIENCE) -> T:
    """What the condition gives once it is true of something."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain until {what}"
        time.sleep(0.5)
    return value
