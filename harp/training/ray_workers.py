"""Many workers by Ray Train, which starts them and joins them into one process group.

Ray's own checkpoints and reports are not used: a run's folder holds all that it needs to continue, whoever runs it.
"""

import logging
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
import torch
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.train.v2.api.config import RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError

from data_schemas.errors import UserError
from harp.ray_start import connect_ray

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 4 * 3600
"""How long workers wait for each other: one may compute frozen features for long while another has them."""


@dataclass(frozen=True)
class OnRay:
    """Runs a function on workers, each on a GPU of its own, or all on CPUs where the cluster has no GPU."""

    workers: int
    storage: Path
    """Folder of the run, for Ray Train's own records, too. All machines of the cluster have to see it under this path: Ray
    refuses to begin otherwise."""
    address: str | None = None
    """Ray cluster; by default the one at RAY_ADDRESS, or one on this machine for the time of the call."""

    def __call__(self, worker: Callable[[torch.device], None]) -> None:
        """Call `worker` with its device on every worker.

        Raises:
            UserError: the cluster has too few CPUs, too few GPUs though it has some, or does not answer.
            Exception: what the first worker to fail raised.
        """
        with self._connected():
            gpus = use_gpus(self.workers, ray.cluster_resources())
            what = "GPU" if gpus else "CPU worker"
            logger.info("Training on %d %s%s", self.workers, what, "" if self.workers == 1 else "s")
            trainer = TorchTrainer(
                lambda: worker(get_device()),
                torch_config=TorchConfig(backend="nccl" if gpus else "gloo", timeout_s=TIMEOUT_SECONDS),
                scaling_config=ScalingConfig(num_workers=self.workers, use_gpu=gpus),
                run_config=RunConfig(name="ray", storage_path=str(self.storage.resolve())),
            )
            try:
                trainer.fit()
            except TrainingFailedError as error:
                failures = list(error.worker_failures.values()) if isinstance(error, WorkerGroupError) else []
                raise failures[0] if failures else error from None

    @contextmanager
    def _connected(self) -> Generator[None]:
        if ray.is_initialized():
            yield
            return
        address = self.address or os.environ.get("RAY_ADDRESS")
        connect_ray(address, num_cpus=max(self.workers, os.cpu_count() or 1))
        try:
            yield
        finally:
            ray.shutdown()


def use_gpus(workers: int, cluster: Mapping[str, float]) -> bool:
    """Whether every worker gets a GPU, given the cluster's resources as Ray names them.

    Raises:
        UserError: it has too few CPUs, or GPUs but too few, which to leave idle would be a silent loss.
    """
    cpus, gpus = int(cluster.get("CPU", 0)), int(cluster.get("GPU", 0))
    if cpus < workers:
        needed = "1 worker needs a CPU" if workers == 1 else f"{workers} workers need as many CPUs"
        raise UserError(f"{needed}; the Ray cluster has {cpus}.")
    if 0 < gpus < workers:
        raise UserError(
            f"{workers} workers want a GPU each and the Ray cluster has {gpus}: give --workers {gpus}, or hide the GPUs to "
            "train on CPUs on purpose (CUDA_VISIBLE_DEVICES= before the command on this machine, ray start --num-gpus 0 "
            "on the nodes of a cluster)."
        )
    return gpus > 0
