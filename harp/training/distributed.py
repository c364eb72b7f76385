"""What the workers of one training run tell each other; with a single worker every function is the identity.

A batch is cut over the workers. Each returns its share of every mean, the sum over its own items divided by the
number of all items, so that a sum over workers (and over micro-batches) is the value of the whole batch.
"""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import torch
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


def default_device() -> torch.device:
    """The first GPU, or the CPU where there is none."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def world_size() -> int:
    """Number of workers."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this worker, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def wait_for_all() -> None:
    """Go on when every worker has come here."""
    if world_size() > 1:
        dist.barrier()


def summed(values: torch.Tensor) -> torch.Tensor:
    """Sum over the workers, without gradient."""
    if world_size() > 1:
        values = values.detach().clone()
        dist.all_reduce(values)
    return values


def gathered(rows: torch.Tensor) -> torch.Tensor:
    """Rows (n, …) of all workers (N, …) in the order of their ranks; workers may have different n.

    Gradient flows to the rows of this worker only. Where every worker computes the same value from the gathered
    rows, the sum over workers of the gradients of the weights is the gradient of that value.
    """
    if world_size() == 1:
        return rows
    sizes = [int(size) for size in _all_gather(torch.tensor([len(rows)], device=rows.device))]
    padded = torch.zeros(max(sizes), *rows.shape[1:], dtype=rows.dtype, device=rows.device)
    padded[: len(rows)] = rows.detach()
    parts = [part[:size] for part, size in zip(_all_gather(padded), sizes, strict=True)]
    parts[rank()] = rows
    return torch.cat(parts)


def gathered_objects(items: Sequence[str]) -> list[str]:
    """Items of all workers in the order of their ranks."""
    if world_size() == 1:
        return list(items)
    parts: list[list[str]] = [[] for _ in range(world_size())]
    dist.all_gather_object(parts, list(items))
    return [item for part in parts for item in part]


def parallel(stage: nn.Module, may_skip_parameters: bool) -> nn.Module:
    """A wrapper of the stage that averages its gradients over the workers.

    It has a process group of its own: it sends gradients while the backward pass runs, in which the stage
    may send something, too.

    Args:
        may_skip_parameters: a worker's part of a batch may leave parameters without gradient, for which the others
            must not wait.
    """
    return DistributedDataParallel(
        stage, process_group=dist.new_group(), find_unused_parameters=may_skip_parameters
    )


def to_device(batch: T, device: torch.device) -> T:
    """A dataclass with all tensors in it, at any depth, on a device."""
    if device.type == "cpu":
        return batch

    def move(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.to(device, non_blocking=True)
        if is_dataclass(value) and not isinstance(value, type):
            return type(value)(**{f.name: move(getattr(value, f.name)) for f in fields(value)})
        return value

    return move(batch)


def _all_gather(tensor: torch.Tensor) -> list[torch.Tensor]:
    parts = [torch.empty_like(tensor) for _ in range(world_size())]
    dist.all_gather(parts, tensor)
    return parts
