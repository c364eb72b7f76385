"""What an exception becomes."""

import errno

import aiohttp
import pytest
import torch
from botocore.exceptions import EndpointConnectionError

from data_schemas.errors import BadInput
from pipelines.engine.worker import failure

OUTAGES = [
    OSError(errno.EIO, "Input/output error"),
    OSError(errno.ENOSPC, "No space left on device"),
    ConnectionResetError("reset"),
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory"),
    EndpointConnectionError(endpoint_url="http://store"),
    aiohttp.ClientPayloadError("cut"),
]


@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: type(error).__name__)
def test_an_outage_says_nothing_of_the_item(error: Exception) -> None:
    failed = failure(error)
    assert (failed.reason, failed.retryable, failed.exception) == ("system_error", True, type(error).__name__)


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), RuntimeError("another"), KeyError("a"), AssertionError()]
)
def test_everything_else_may_be_a_bug(error: Exception) -> None:
    failed = failure(error)
    assert (failed.reason, failed.retryable) == ("exception", True)


def test_broken_input_has_its_own_reason() -> None:
    failed = failure(BadInput("truncated_video", "cut"))
    assert (failed.reason, failed.detail, failed.retryable) == ("truncated_video", "cut", False)
