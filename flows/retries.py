"""Which failures are worth another attempt, and how long to wait for it.

A full disk, a wrong setting or a bug fails again in the same way; a network, an object store or a Ray cluster that is
restarted may not. A repeated task does only what is missing, since every stage commits as it goes.
"""

from typing import Any

from aiohttp import ClientPayloadError
from botocore.exceptions import ConnectionError as NotConnected
from botocore.exceptions import HTTPClientError
from deltalake.exceptions import DeltaError
from httpx import TransportError
from prefect.client.schemas import State, TaskRun
from prefect.tasks import Task, exponential_backoff
from ray.exceptions import RayError, RayTaskError

from pipelines.engine.refusals import is_refusal

PASSING = (
    OSError, TransportError, HTTPClientError, NotConnected, ClientPayloadError, DeltaError, RayError
)  # fmt: skip
"""Those of botocore and aiohttp are what an object store's outage is to everything but Delta Lake; an answer that asks
for fewer requests comes as an `OSError`."""


def passes(task: Task[Any, Any], run: TaskRun, state: State) -> bool:
    """Whether what made a task fail may be over by the next attempt."""
    error = state.result(raise_on_failure=False)
    # A `RayTaskError` is what a stage's own code raised.
    return isinstance(error, PASSING) and not isinstance(error, RayTaskError) and not is_refusal(error)


RETRIES: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=10),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": passes,
}
"""Arguments of `prefect.task`: after about 10, 20 and 40 s."""
