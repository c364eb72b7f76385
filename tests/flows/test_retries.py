"""A failure that may pass is tried again, one that lasts is not."""

from typing import Any

import httpx
import pytest
from aiohttp import ClientPayloadError
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from deltalake.exceptions import CommitFailedError, DeltaError
from prefect.states import Failed
from ray.exceptions import RaySystemError, RayTaskError

from data_schemas.errors import BadInput, UserError
from flows.curate import publish, run_step
from flows.label import label_clips
from flows.retries import passes
from flows.train import optimize

ANY: tuple[Any, Any] = (run_step, None)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("peer"),
        OSError(5, "Input/output error"),
        TimeoutError(),
        httpx.ConnectTimeout("slow"),
        CommitFailedError("conflict"),
        RaySystemError("the raylet is gone"),
        EndpointConnectionError(endpoint_url="http://store"),
        ReadTimeoutError(endpoint_url="http://store"),
        ClientPayloadError("half an answer"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_may_pass(error: Exception):
    assert passes(*ANY, Failed(data=error))


@pytest.mark.parametrize(
    "error",
    [
        UserError("the disk is full"),
        BadInput("truncated_video", "half of it"),
        FileNotFoundError("raw"),
        PermissionError("lake"),
        OSError(28, "No space left on device"),
        DeltaError("Generic LocalFileSystem error: File too large (os error 27)"),
        KeyError("a bug"),
        RayTaskError("process", "traceback", KeyError("a bug in a stage")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_lasts(error: Exception):
    assert not passes(*ANY, Failed(data=error))


@pytest.mark.parametrize("task", [run_step, publish, label_clips, optimize], ids=lambda task: task.name)
def test_the_wait_doubles(task):
    assert (task.retries, task.retry_delay_seconds) == (3, [10, 20, 40])
    assert task.retry_condition_fn is passes
