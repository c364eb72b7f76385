"""What the Ray dashboard and Prometheus show of a stage: items by outcome, rate, queue, workers, seconds per item.

Ray collects the metrics of every process that is connected to it and serves them on each node's metrics port.
"""

import time
from collections import deque
from functools import cache

from ray.util.metrics import Counter, Gauge, Histogram

from pipelines.engine.executor import Attempt

WINDOW_SECONDS = 30.0
"""Over which the rate is taken."""

SECONDS_BOUNDARIES = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000]


class Meters:
    """The metrics of one stage."""

    def __init__(self, stage: str) -> None:
        self._items, self._seconds, self._rate, self._queue, self._busy = _metrics()
        self._stage = {"stage": stage}
        self._finished: deque[float] = deque()
        self._started = time.monotonic()

    def attempt(self, attempt: Attempt) -> None:
        """Count what came of an attempt."""
        outcome = type(attempt.outcome).__name__.lower() if attempt.final else "requeued"
        self._items.inc(tags={**self._stage, "outcome": outcome})
        if attempt.final:
            self._seconds.observe(attempt.stats.seconds, tags=self._stage)
            self._finished.append(time.monotonic())

    def state(self, queued: int, busy: int) -> None:
        """Set what is true now.

        Args:
            queued: items that no worker has yet.
            busy: workers that hold a batch.
        """
        now = time.monotonic()
        while self._finished and self._finished[0] < now - WINDOW_SECONDS:
            self._finished.popleft()
        elapsed = min(WINDOW_SECONDS, max(now - self._started, 1.0))
        self._rate.set(len(self._finished) / elapsed, tags=self._stage)
        self._queue.set(queued, tags=self._stage)
        self._busy.set(busy, tags=self._stage)

    def close(self) -> None:
        """The stage is over: nothing is queued, busy or coming."""
        for gauge in (self._rate, self._queue, self._busy):
            gauge.set(0, tags=self._stage)


@cache
def _metrics() -> tuple[Counter, Histogram, Gauge, Gauge, Gauge]:
    """One of each per process: Ray adds up what has the same name."""
    tags = ("stage",)
    return (
        Counter("harp_items", "Items by what came of them", (*tags, "outcome")),
        Histogram("harp_item_seconds", "Compute seconds per item", SECONDS_BOUNDARIES, tags),
        Gauge("harp_items_per_second", f"Items finished, over {WINDOW_SECONDS:g} s", tags),
        Gauge("harp_queued_items", "Items that no worker has yet", tags),
        Gauge("harp_busy_workers", "Workers that hold a batch", tags),
    )
