"""Runs stages on Ray actors: the model loads once per worker; see `ray_pool` for who is blamed for what.

Ray starts embedded in the driver's process tree, once for all stages of a run, unless `RAY_ADDRESS` names a
cluster.
"""

import os
import threading
from collections.abc import Generator

import ray

from harp.ray_start import connect_ray
from pipelines.engine.executor import Attempt, Executor, Items, Limits
from pipelines.engine.ray_pool import Hand, Pool, max_workers
from pipelines.engine.stage import Resources, Stage

OBJECT_STORE_BYTES = 256 * 2**20
"""Rows travel, frames do not: Ray's default of 30 % of the memory would only take it from the stages."""


class RayExecutor(Executor):
    """Ray until the end of a `with` block; several stages may run in it, one after another or from several threads.

    Ray starts with the first stage that has something to do, so that a run without work does not wait for it.

    Args:
        num_cpus: of the embedded Ray; by default those this process may use.
        num_gpus: of the embedded Ray; by default those it finds.
    """

    def __init__(self, num_cpus: int | None = None, num_gpus: int | None = None) -> None:
        self._num_cpus = num_cpus or len(os.sched_getaffinity(0))
        self._num_gpus = num_gpus
        self._owns_ray = False
        self._starting = threading.Lock()
        self._running = 0
        self._parked: tuple[Resources | None, list[Hand]] = (None, [])

    @property
    def is_here(self) -> bool:
        return not os.environ.get("RAY_ADDRESS")

    def __exit__(self, *exception: object) -> None:
        if ray.is_initialized():
            self._take_parked(None)
        if self._owns_ray:
            ray.shutdown()
            self._owns_ray = False

    def run(
        self, stage: Stage, items: Items, limits: Limits | None = None
    ) -> Generator[Attempt | None, None, None]:
        with self._starting:
            self._connect()
            cluster = ray.cluster_resources()
            resources = stage.resources.on(cluster)
            num_batches = -(-len(items) // stage.batch_size)
            num_workers = min(num_batches, max_workers(stage.name, resources, cluster))
            self._running += 1
            parked = self._take_parked(resources)
            pool = Pool(stage, items, resources, num_workers, limits or Limits(), parked)
        try:
            yield from pool.process()
        finally:
            self._park(resources, pool.close())

    def _take_parked(self, resources: Resources | None) -> list[Hand]:
        """Idle workers of an earlier stage. What does not fit the stage ends, since it holds what the stage needs."""
        (held, hands), self._parked = self._parked, (None, [])
        if held == resources:
            return hands
        for hand in hands:
            ray.kill(hand.actor)
        return []

    def _park(self, resources: Resources, hands: list[Hand]) -> None:
        """Keep workers for the next stage, unless another stage that runs now may be waiting for their place."""
        with self._starting:
            self._running -= 1
            self._take_parked(None)
            self._parked = (resources, hands)
            if self._running:
                self._take_parked(None)

    def _connect(self) -> None:
        if ray.is_initialized():
            return
        # Processes that Ray starts ahead have none of the settings that ours need, and would never be used.
        os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
        connect_ray(
            os.environ.get("RAY_ADDRESS"),
            num_cpus=self._num_cpus,
            num_gpus=self._num_gpus,
            object_store_memory=OBJECT_STORE_BYTES,
        )
        self._owns_ray = True
