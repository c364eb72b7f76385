"""The Ray actor that runs batches, and the options it is started with.

An actor is not bound to a stage: it sets up one stage after another, so that a run starts as many processes as it
has workers and not as many for every stage. A process costs 1 to 5 s, a stage of a nightly run may take less.
"""

import time
from collections.abc import Sequence
from typing import Any

import psutil
import ray

from pipelines.engine.stage import Item, Outcome, Resources, Stage
from pipelines.engine.worker import WorkerStats, process_batch, worker_name

MEMORY_CHECK_SECONDS = 0.5

THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


class Worker:
    """The actor. One call at a time, beside `watch`, which has a thread of its own."""

    def __init__(self) -> None:
        self._stage: Stage | None = None

    def setup(self, stage: Stage) -> str:
        """Make ready for a stage; the worker's name."""
        self._stage = stage
        stage.setup()
        return worker_name()

    def process(self, items: Sequence[Item]) -> list[tuple[Outcome, WorkerStats]]:
        """One outcome per item."""
        assert self._stage is not None, "process before setup"
        return process_batch(self._stage, items)

    def teardown(self) -> None:
        """Release what the stage took."""
        stage, self._stage = self._stage, None
        if stage is not None:
            stage.teardown()

    @ray.method(concurrency_group="watch")
    def watch(self, limit_bytes: int) -> int:
        """Return once the process holds more private memory than the limit, in bytes what it holds."""
        process = psutil.Process()
        while True:
            memory = process.memory_info()
            # Pages of libraries and of the object store are shared with the other workers.
            private = memory.rss - memory.shared
            if private > limit_bytes:
                return private
            time.sleep(MEMORY_CHECK_SECONDS)


def start_worker(resources: Resources) -> Any:
    """A new actor that takes these resources of the cluster, and sees no other GPU."""
    # Set before the worker starts: libraries read them once, when they load.
    variables: dict[str, str] = dict.fromkeys(THREAD_SETTINGS, str(max(1, int(resources.cpus))))
    if not resources.gpus:
        # Ray hides the GPUs of others only from workers that have one: those of no GPU would all load onto the first.
        variables["CUDA_VISIBLE_DEVICES"] = ""
    options: dict[str, Any] = {
        "num_cpus": resources.cpus,
        "num_gpus": resources.gpus,
        "concurrency_groups": {"watch": 1},
        "runtime_env": {"env_vars": variables},
    }
    if resources.memory_gb is not None:
        options["memory"] = memory_bytes(resources)
    return ray.remote(**options)(Worker).remote()


def memory_bytes(resources: Resources) -> int:
    """The limit in bytes; only for resources that have one."""
    assert resources.memory_gb is not None, "no memory limit"
    return int(resources.memory_gb * 2**30)
