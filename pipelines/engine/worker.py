"""What happens to a batch inside a worker, in process or on a Ray actor: outcomes, time and memory.

A batch that raises is repeated item by item, so that the blame falls on the item that earned it.
"""

import os
import resource
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from data_schemas.errors import BadInput
from pipelines.engine.stage import Done, Failed, Item, Outcome, Stage

MAX_TRACEBACK = 4000
"""Characters of a traceback that the ledger keeps: its end, where the error is."""

MAX_SENTENCE = 500

EXCEPTION = "exception"
"""Reason of what a stage's code raised: a bug, for all that is known."""

SYSTEM_ERROR = "system_error"
"""Reason of what the machine or the network refused, which says nothing of the item."""

SYSTEM_ERRORS = frozenset(
    (
        "builtins.OSError",
        "builtins.MemoryError",
        "torch.OutOfMemoryError",
        "torch.AcceleratorError",
        "botocore.exceptions.ConnectionError",
        "botocore.exceptions.HTTPClientError",
        "aiohttp.client_exceptions.ClientError",
        "httpx.TransportError",
    )
)
"""Classes by name, since most stages have not loaded those libraries; their subclasses as well."""


@dataclass(frozen=True)
class WorkerStats:
    """What an item cost. Items of one batch share its time evenly."""

    worker: str
    """`host:pid`."""
    seconds: float
    peak_memory_mb: float
    """Highest resident memory of the worker while it held the batch, and of processes that its stage started."""
    gpu_memory_mb: float = 0.0

    @classmethod
    def unknown(cls) -> Self:
        """Of work whose worker did not live to tell."""
        return cls(worker="", seconds=0.0, peak_memory_mb=0.0)


def process_batch(stage: Stage, items: Sequence[Item]) -> list[tuple[Outcome, WorkerStats]]:
    """One outcome per item, in order; never raises for what the stage does."""
    _reset_peak_memory()
    start = time.perf_counter()
    try:
        outcomes = _checked(stage, stage.process([item.payload for item in items]), len(items))
    except Exception as error:
        if len(items) > 1:
            return [result for item in items for result in process_batch(stage, [item])]
        outcomes = [failure(error)]
    seconds = (time.perf_counter() - start) / len(items)
    outside, outside_gpu = stage.memory_outside_mb
    stats = WorkerStats(worker_name(), seconds, _peak_memory_mb() + outside, _peak_gpu_mb() + outside_gpu)
    return [(outcome, stats) for outcome in outcomes]


def worker_name() -> str:
    """`host:pid` of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def failure(error: Exception) -> Failed:
    """A named reason for broken input; everything else may be a passing trouble and is tried again.

    A `system_error` for as long as it lasts, an `exception` in as many runs as `ledger.MAX_EXCEPTIONS` says.
    """
    raised = type(error).__name__
    text = "".join(traceback.format_exception(error))[-MAX_TRACEBACK:]
    if isinstance(error, BadInput):
        return Failed(error.reason, error.detail, error.retryable, exception=raised, traceback=text)
    lines = str(error).strip().splitlines()
    sentence = f"{raised}: {lines[-1]}" if lines else raised
    classes = {f"{c.__module__}.{c.__qualname__}" for c in type(error).__mro__}
    reason = EXCEPTION if classes.isdisjoint(SYSTEM_ERRORS) else SYSTEM_ERROR
    return Failed(reason, sentence[:MAX_SENTENCE], retryable=True, exception=raised, traceback=text)


def _checked(stage: Stage, outcomes: list[Outcome], expected: int) -> list[Outcome]:
    if len(outcomes) != expected:
        raise RuntimeError(f"{stage.name} returned {len(outcomes)} outcomes for a batch of {expected}")
    for outcome in outcomes:
        if isinstance(outcome, Done) and not isinstance(outcome.row, stage.row):
            raise TypeError(
                f"{stage.name} returned a {type(outcome.row).__name__}, not a {stage.row.__name__}"
            )
    return outcomes


def _reset_peak_memory() -> None:
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass  # not Linux: the peak is then that of the worker's whole life
    if (torch := _torch_on_gpu()) is not None:
        torch.cuda.reset_peak_memory_stats()


def _peak_memory_mb() -> float:
    try:
        with open("/proc/self/status") as file:
            kilobytes: Any = next(line.split()[1] for line in file if line.startswith("VmHWM"))
    except OSError:
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(kilobytes) / 1024


def _peak_gpu_mb() -> float:
    torch = _torch_on_gpu()
    return 0.0 if torch is None else torch.cuda.max_memory_allocated() / 2**20


def _torch_on_gpu() -> Any:
    """The module, where the stage has loaded it and there is a GPU."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_available() else None
