"""Runs stages on Ray actors: the model loads once per worker, one call in flight per actor.

One call per actor is what makes blame exact: Ray fails every queued call of an actor that dies, also those that
had not begun. When an actor dies, its batch goes back to the queue item by item and runs on other actors; an
item whose actor dies a second time, now alone, is the culprit. The price is the round trip between two
calls, about 1 ms.

Ray starts embedded in the driver's process tree, once for all stages of a run, unless `RAY_ADDRESS` names a
cluster.
"""

import logging
import math
import os
import threading
from collections import Counter, deque
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, RayTaskError, WorkerCrashedError

from data_schemas.errors import UserError
from pipelines.engine.executor import Executor, Result, batches
from pipelines.engine.stage import Failed, Item, Outcome, Resources, Stage
from pipelines.engine.worker import WorkerStats, failure, process_batch

logger = logging.getLogger(__name__)

OBJECT_STORE_BYTES = 256 * 2**20
"""Rows travel, frames do not: Ray's default of 30 % of the memory would only take it from the stages."""

MAX_DEATHS = 2
"""Of the worker that holds an item, or of workers that are setting up."""

TEARDOWN_SECONDS = 10.0

WORKER_DEATH = (RayActorError, WorkerCrashedError, OutOfMemoryError, NodeDiedError)


class RayExecutor(Executor):
    """Ray until the end of a `with` block; several stages may run in it, one after another or from several threads.

    Ray starts with the first stage that has something to do, so that a run without work does not wait for it.

    Args:
        num_cpus: of the embedded Ray; by default those this process may use.
        dashboard: serve Ray's dashboard on loopback.
    """

    def __init__(self, num_cpus: int | None = None, dashboard: bool = False) -> None:
        self._num_cpus = num_cpus or len(os.sched_getaffinity(0))
        self._dashboard = dashboard
        self._owns_ray = False
        self._starting = threading.Lock()

    def __exit__(self, *exception: object) -> None:
        if self._owns_ray:
            ray.shutdown()
            self._owns_ray = False

    def run(self, stage: Stage, items: Sequence[Item]) -> Generator[Result, None, None]:
        with self._starting:
            self._connect()
        queue = deque(batches(stage, items))
        pool = _Pool(stage, min(len(queue), max_workers(stage, ray.cluster_resources())))
        try:
            yield from pool.process(queue)
        finally:
            pool.close()

    def _connect(self) -> None:
        if ray.is_initialized():
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address := os.environ.get("RAY_ADDRESS"):
            ray.init(address=address, **options)
        else:
            ray.init(
                address="local",
                num_cpus=self._num_cpus,
                include_dashboard=self._dashboard,
                object_store_memory=OBJECT_STORE_BYTES,
                **options,
            )
        self._owns_ray = True


def max_workers(stage: Stage, available: Mapping[str, float]) -> int:
    """How many workers of a stage the cluster holds.

    Raises:
        UserError: not even one.
    """
    limits = []
    for name, needed in (("CPU", stage.resources.cpus), ("GPU", stage.resources.gpus)):
        found = available.get(name, 0.0)
        if needed > found:
            raise UserError(
                f"A worker of stage {stage.name} needs {needed:g} {name}s and the Ray cluster has {found:g}: "
                "lower the stage's resources, use a larger cluster, or run with the local executor."
            )
        if needed > 0:
            limits.append(math.floor(found / needed))
    return max(1, min(limits, default=1))


class _Worker:
    """The actor."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def setup(self) -> None:
        self._stage.setup()

    def process(self, items: Sequence[Item]) -> list[tuple[Outcome, WorkerStats]]:
        return process_batch(self._stage, items)

    def teardown(self) -> None:
        self._stage.teardown()


class _Pool:
    """Actors of one stage. `_busy` holds what each does: a batch, or its setup (None)."""

    def __init__(self, stage: Stage, num_workers: int) -> None:
        self._stage = stage
        self._actor_class = ray.remote(_Worker).options(**_actor_options(stage.resources))
        self._stage_ref = ray.put(stage)
        self._busy: dict[ray.ObjectRef, tuple[Any, Sequence[Item] | None]] = {}
        self._idle: list[Any] = []
        self._deaths: Counter[str] = Counter()
        self._setup_deaths = 0
        for _ in range(num_workers):
            self._start()

    def process(self, queue: deque[Sequence[Item]]) -> Generator[Result, None, None]:
        """Work the queue off. The consumer's pace is the bound: nothing starts while it holds a result."""
        while queue or any(batch is not None for _, batch in self._busy.values()):
            (ref,), _ = ray.wait(list(self._busy), num_returns=1)
            actor, batch = self._busy.pop(ref)
            results: list[Result] = []
            try:
                value = ray.get(ref)
            except WORKER_DEATH as error:
                results = self._bury(actor, batch, queue, error)
            except RayTaskError as error:
                if batch is None:
                    raise error.cause if isinstance(error.cause, Exception) else error from None
                # The worker itself never raises: the payload or the row could not travel.
                results = self._refuse(batch, queue, error)
                self._idle.append(actor)
            else:
                if batch is not None:
                    results = [(item, *result) for item, result in zip(batch, value, strict=True)]
                self._idle.append(actor)
            while queue and self._idle:
                next_actor, next_batch = self._idle.pop(), queue.popleft()
                self._busy[next_actor.process.remote(next_batch)] = (next_actor, next_batch)
            yield from results

    def close(self) -> None:
        """Tear the idle workers down, then end all."""
        refs = [actor.teardown.remote() for actor in self._idle]
        if refs:
            ray.wait(refs, num_returns=len(refs), timeout=TEARDOWN_SECONDS)
        for actor in [*self._idle, *(actor for actor, _ in self._busy.values())]:
            ray.kill(actor)

    def _start(self) -> None:
        actor = self._actor_class.remote(self._stage_ref)
        self._busy[actor.setup.remote()] = (actor, None)

    def _bury(
        self, actor: Any, batch: Sequence[Item] | None, queue: deque[Sequence[Item]], error: Exception
    ) -> list[Result]:
        ray.kill(actor)
        if batch is None:
            self._setup_deaths += 1
            if self._setup_deaths >= MAX_DEATHS:
                raise RuntimeError(f"Workers of stage {self._stage.name} die in setup: {error}") from error
            self._start()
            return []
        logger.warning("A worker of stage %s died at %s", self._stage.name, ", ".join(i.label for i in batch))
        self._deaths.update(item.item_id for item in batch)
        guilty, others = [], []
        for item in batch:
            (guilty if self._deaths[item.item_id] >= MAX_DEATHS else others).append(item)
        queue.extendleft([item] for item in others)
        if queue:
            self._start()
        detail = f"The worker's process died {MAX_DEATHS} times at this item; the last time: {error}"
        nobody = WorkerStats(worker="", seconds=0.0, peak_memory_mb=0.0)
        return [(item, Failed("worker_died", detail), nobody) for item in guilty]

    def _refuse(
        self, batch: Sequence[Item], queue: deque[Sequence[Item]], error: RayTaskError
    ) -> list[Result]:
        if len(batch) > 1:
            queue.extendleft([item] for item in batch)
            return []
        nobody = WorkerStats(worker="", seconds=0.0, peak_memory_mb=0.0)
        return [(batch[0], failure(error), nobody)]


def _actor_options(resources: Resources) -> dict[str, Any]:
    threads = str(max(1, int(resources.cpus)))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
    options: dict[str, Any] = {
        "num_cpus": resources.cpus,
        "num_gpus": resources.gpus,
        # Set before the worker starts: libraries read them once, when they load.
        "runtime_env": {"env_vars": dict.fromkeys(names, threads)},
    }
    if resources.memory_gb is not None:
        options["memory"] = int(resources.memory_gb * 2**30)
    return options
