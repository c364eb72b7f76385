"""The workers of one stage on Ray: hands batches out, one call in flight per worker, and finds whom to blame.

One call per actor is what makes blame exact: Ray fails every queued call of an actor that dies, also those that
had not begun. When a worker dies, its batch goes back to the queue item by item and runs on other workers; an item
whose worker dies a second time, now alone, is the culprit. A worker that holds one item for too long or takes too
much memory is killed as well; for a timeout the item is blamed at once if it was alone. The price of one call is the round trip
between two of them, about 1 ms.
"""

import logging
import math
import time
from collections import Counter, deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, RayTaskError, WorkerCrashedError

from data_schemas.errors import UserError
from pipelines.engine.executor import Attempt, Items, Limits, batches
from pipelines.engine.meters import Meters
from pipelines.engine.ray_worker import memory_bytes, start_worker
from pipelines.engine.stage import Failed, Item, Resources, Stage
from pipelines.engine.worker import WorkerStats, failure

logger = logging.getLogger(__name__)

MAX_DEATHS = 2
"""Of the worker that holds an item, or of workers that are setting up while none succeeds."""

TEARDOWN_SECONDS = 10.0

PATIENCE_SECONDS = 5.0
"""Longest wait without a look at the clocks of the workers."""

WORKER_DEATH = (RayActorError, WorkerCrashedError, OutOfMemoryError, NodeDiedError)


@dataclass(eq=False)
class Hand:
    """One worker, and what it does."""

    actor: Any
    name: str = ""
    """`host:pid`, once it is known."""
    started: float = field(default_factory=time.monotonic)
    call: ray.ObjectRef | None = None
    batch: Sequence[Item] | None = None
    """Of the call; None while it sets up."""
    since: float = 0.0
    has_worked: bool = False
    """A worker does at least one batch, however long its start took."""
    memory: ray.ObjectRef | None = None
    """Ready once it takes more memory than the stage may."""

    def begin(self, call: ray.ObjectRef, batch: Sequence[Item] | None) -> None:
        """It works on this from now on."""
        self.call, self.batch, self.since = call, batch, time.monotonic()

    @property
    def refs(self) -> list[ray.ObjectRef]:
        return [ref for ref in (self.call, self.memory) if ref is not None]


class Pool:
    """Workers that run one stage over items.

    Args:
        resources: of one worker on this cluster.
        parked: workers of an earlier stage with the same resources; they are taken over, or ended if too many.
    """

    def __init__(
        self,
        stage: Stage,
        items: Items,
        resources: Resources,
        num_workers: int,
        limits: Limits,
        parked: list[Hand],
    ) -> None:
        self._stage, self._items, self._resources, self._limits = stage, items, resources, limits
        self._source: Iterator[list[Item]] = batches(items, stage.batch_size)
        self._again: deque[Sequence[Item]] = deque()
        self._exhausted = False
        self._taken = 0
        self._stage_ref = ray.put(stage)
        self._idle: list[Hand] = []
        self._busy: list[Hand] = []
        self._deaths: Counter[str] = Counter()
        self._setup_deaths = 0
        self._meters = Meters(stage.name)
        for _ in range(num_workers):
            self._start(parked.pop() if parked else None)
        for hand in parked:
            ray.kill(hand.actor)

    def process(self) -> Generator[Attempt | None, None, None]:
        """Work all items off; None after a wait in which none finished, which is `PATIENCE_SECONDS` at most.

        The consumer's pace is the bound: nothing starts while it holds an attempt.
        """
        while True:
            self._feed()
            nothing_left = self._exhausted and not self._again
            if nothing_left and all(hand.batch is None for hand in self._busy):
                return
            refs = [ref for hand in self._busy for ref in hand.refs]
            ready, _ = ray.wait(refs, num_returns=1, timeout=self._patience())
            attempts = [*(self._finish(ready[0]) if ready else ()), *self._kill_overdue()]
            self._feed()
            if not attempts:
                yield None
            for attempt in attempts:
                self._meters.attempt(attempt)
                yield attempt

    def close(self) -> list[Hand]:
        """Tear the idle workers down and end the others.

        Returns:
            Those that another stage may take over.
        """
        self._meters.close()
        for hand in self._busy:
            ray.kill(hand.actor)
        torn = {hand.actor.teardown.remote(): hand for hand in self._idle}
        ready, late = (
            ray.wait(list(torn), num_returns=len(torn), timeout=TEARDOWN_SECONDS) if torn else ([], [])
        )
        for ref in late:
            ray.kill(torn[ref].actor)
        return [torn[ref] for ref in ready if _went_well(ref)]

    # === Handing out ===

    def _feed(self) -> None:
        while self._idle and (batch := self._next_batch()):
            hand = self._idle.pop()
            if hand.has_worked and time.monotonic() - hand.started > self._limits.worker_seconds:
                self._again.appendleft(batch)
                ray.kill(hand.actor)
                self._start()
                continue
            hand.begin(hand.actor.process.remote(batch), batch)
            hand.has_worked = True
            self._busy.append(hand)
        queued = len(self._items) - self._taken + sum(len(batch) for batch in self._again)
        self._meters.state(queued, sum(hand.batch is not None for hand in self._busy))

    def _next_batch(self) -> Sequence[Item] | None:
        if self._again:
            return self._again.popleft()
        batch = next(self._source, None)
        self._exhausted = batch is None
        self._taken += len(batch or ())
        return batch

    def _start(self, parked: Hand | None = None) -> None:
        hand = parked or Hand(start_worker(self._resources))
        hand.begin(hand.actor.setup.remote(self._stage_ref), None)
        if hand.memory is None and self._resources.memory_gb is not None:
            allowed = self._limits.memory_factor * memory_bytes(self._resources)
            hand.memory = hand.actor.watch.remote(int(allowed))
        self._busy.append(hand)

    # === What came of it ===

    def _finish(self, ref: ray.ObjectRef) -> list[Attempt]:
        hand = next(hand for hand in self._busy if ref in hand.refs)
        try:
            value: Any = ray.get(ref)
        except WORKER_DEATH as error:
            return self._bury(hand, _death(error), innocent=getattr(error, "preempted", False))
        except RayTaskError as error:
            if hand.batch is None:
                raise error.cause if isinstance(error.cause, Exception) else error from None
            # The worker itself never raises: the payload or the row could not travel.
            return self._refuse(self._release(hand), error)
        if ref == hand.memory:
            limit = self._limits.memory_factor * memory_bytes(self._resources)
            detail = f"the worker took {value / 2**30:.2f} GB of the {limit / 2**30:g} GB that it may"
            return self._bury(hand, Failed("memory_limit", detail))
        if hand.batch is None:
            hand.name, value = value, ()
            self._setup_deaths = 0
        return [Attempt(item, *result) for item, result in zip(self._release(hand), value, strict=True)]

    def _release(self, hand: Hand) -> Sequence[Item]:
        """The worker is free; what it worked on."""
        batch = hand.batch or ()
        hand.call = hand.batch = None
        self._busy.remove(hand)
        self._idle.append(hand)
        return batch

    def _refuse(self, batch: Sequence[Item], error: RayTaskError) -> list[Attempt]:
        if len(batch) > 1:
            self._again.extendleft([item] for item in batch)
            return []
        return [Attempt(batch[0], failure(error), WorkerStats.unknown())]

    def _patience(self) -> float:
        deadlines = [hand.since + self._allowed(hand) for hand in self._busy if hand.batch is not None]
        return max(0.0, min(PATIENCE_SECONDS, min(deadlines, default=math.inf) - time.monotonic()))

    def _allowed(self, hand: Hand) -> float:
        return self._limits.item_seconds * len(hand.batch or ())

    def _kill_overdue(self) -> list[Attempt]:
        now = time.monotonic()
        overdue = {
            hand.call: hand
            for hand in self._busy
            if hand.batch is not None and now - hand.since >= self._allowed(hand)
        }
        if not overdue:
            return []
        # A result that waits to be fetched, because the consumer took its time, came early enough.
        _, late = ray.wait(list(overdue), num_returns=len(overdue), timeout=0)
        verdict = Failed("timeout", f"took more than the {self._limits.item_seconds:g} s that an item may")
        return [attempt for ref in late for attempt in self._bury(overdue[ref], verdict, max_deaths=1)]

    def _bury(
        self, hand: Hand, verdict: Failed, *, max_deaths: int = MAX_DEATHS, innocent: bool = False
    ) -> list[Attempt]:
        """End a worker that died or has to, put another into its place, and see to its items.

        Args:
            verdict: on the item that is to blame.
            max_deaths: that an item is granted when it is alone with its worker.
            innocent: the death had nothing to do with the items.
        """
        ray.kill(hand.actor)
        self._busy.remove(hand)
        if hand.batch is None:
            self._setup_deaths += not innocent
            if self._setup_deaths >= MAX_DEATHS:
                raise RuntimeError(f"Workers of stage {self._stage.name} die in setup: {verdict.detail}")
            self._start()
            return []
        labels = ", ".join(item.label for item in hand.batch)
        logger.warning("Stage %s lost a worker at %s: %s", self._stage.name, labels, verdict.detail)
        if not innocent:
            self._deaths.update(item.item_id for item in hand.batch)
        stats = WorkerStats(hand.name, (time.monotonic() - hand.since) / len(hand.batch), 0.0)
        attempts = []
        for item in hand.batch:
            guilty = len(hand.batch) == 1 and self._deaths[item.item_id] >= max_deaths
            if not guilty:
                self._again.appendleft([item])
            outcome = verdict if guilty else replace(verdict, reason="worker_lost", retryable=True)
            attempts.append(Attempt(item, outcome, stats, final=guilty))
        if self._again or not self._exhausted:
            self._start()
        return attempts


def _death(error: Exception) -> Failed:
    """The verdict on an item whose worker died."""
    raised, text = type(error).__name__, str(error)
    if isinstance(error, OutOfMemoryError):
        # The node's memory was full, perhaps because of others: the next run may try again.
        detail = "the worker was killed because its node ran out of memory"
        return Failed("out_of_memory", detail, retryable=True, exception=raised, traceback=text)
    detail = f"the worker's process died ({raised})"
    return Failed("worker_died", detail, exception=raised, traceback=text)


def max_workers(stage: str, resources: Resources, available: Mapping[str, float]) -> int:
    """How many workers of a stage the cluster holds, given what one needs there.

    Raises:
        UserError: not even one.
    """
    limits = []
    gigabytes = available.get("memory", 0.0) / 2**30
    needs = (
        ("CPU", resources.cpus, available.get("CPU", 0.0)),
        ("GPU", resources.gpus or 0.0, available.get("GPU", 0.0)),
        ("GB of memory", resources.memory_gb or 0.0, gigabytes),
    )
    for name, needed, found in needs:
        if needed > found:
            unit = name if " " in name else f"{name}s"
            raise UserError(
                f"A worker of stage {stage} needs {needed:g} {unit} and the Ray cluster has {found:g}: "
                "lower the stage's resources, use a larger cluster, or run with the local executor."
            )
        if needed > 0:
            limits.append(math.floor(found / needed))
    return max(1, min(limits, default=1))


def _went_well(ref: ray.ObjectRef) -> bool:
    try:
        ray.get(ref)
    except (*WORKER_DEATH, RayTaskError):
        return False
    return True
