"""Fully sharded data parallelism (torch's FSDP2): each worker keeps a share of weights, gradients and AdamW moments.

For policies that do not fit on one device. A unit (a transformer block) is gathered while it runs and freed behind it, so
a worker holds its share and one whole unit. Checkpoints hold whole tensors: a run continues on any number of workers, with
or without sharding, and the trained policy is read back from the last one by the first worker alone.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from harp.training.distributed import rank


def shard(module: nn.Module, units: Iterable[nn.Module]) -> FSDPModule:
    """Share the parameters of a module, in place, among the workers of the process group.

    Args:
        units: parts of it that are gathered by themselves when they run; all other parameters are held whole from the
            beginning of the forward to the end of the backward pass.
    """
    for unit in units:
        fully_shard(unit)
    return fully_shard(module)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor from its shares; every worker has to call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_on_first(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Whole tensors on the CPU of the first worker, one after the other, and nothing on the others.

    Every worker has to call this.
    """
    kept = {}
    for name, tensor in tensors.items():
        gathered = whole(tensor.detach())
        if rank() == 0:
            kept[name] = gathered.cpu().contiguous()
    return kept


def shared_like(tensor: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """This worker's share of a whole tensor, cut as `own` is; every worker holds the same whole one."""
    if not isinstance(own, DTensor):
        return tensor
    return distribute_tensor(tensor.to(own.device), own.device_mesh, own.placements, src_data_rank=None)
