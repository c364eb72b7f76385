"""Many workers by Ray Train, which starts them and joins them into one process group.

Ray's own checkpoints and reports are not used: a run's folder holds all that it needs to continue, whoever runs it.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError

from data_schemas.errors import UserError
from harp.ray_address import check_ray_address

TIMEOUT_SECONDS = 4 * 3600
"""How long workers wait for each other: one may compute frozen features for long while another has them."""


@dataclass(frozen=True)
class OnRay:
    """Runs a function on many workers, each on a GPU of its own where the cluster has that many, else on CPUs."""

    workers: int
    storage: Path
    """For Ray Train's own records; shared by the machines of the cluster."""
    address: str | None = None
    """Ray cluster; by default the one at RAY_ADDRESS, or one on this machine for the time of the call."""

    def __call__(self, worker: Callable[[torch.device], None]) -> None:
        """Call `worker` with its device on every worker.

        Raises:
            UserError: the cluster has too few CPUs, or does not answer.
            Exception: what the first worker to fail raised.
        """
        with self._connected():
            resources = ray.cluster_resources()
            if resources.get("CPU", 0) < self.workers:
                raise UserError(
                    f"{self.workers} workers need as many CPUs; the Ray cluster has {resources.get('CPU', 0):.0f}."
                )
            gpus = resources.get("GPU", 0) >= self.workers
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
    def _connected(self) -> Iterator[None]:
        if ray.is_initialized():
            yield
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        address = self.address or os.environ.get("RAY_ADDRESS")
        own: dict[str, Any] = {}
        if address:
            check_ray_address(address)
        else:
            own = {"num_cpus": max(self.workers, os.cpu_count() or 1), "include_dashboard": False}
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
        try:
            yield
        finally:
            ray.shutdown()
