"""Shares of parameters on two real workers."""

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from harp.training.distributed import rank
from harp.training.sharding import shard, shared_like, whole, whole_on_first
from tests.harp.training.worker_processes import run_on_processes


def made() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 5))


def worker(device: torch.device) -> None:
    """Each worker holds about half; whole tensors come together on the first, and are cut as the parameters are."""
    original = {name: parameter.detach() for name, parameter in made().named_parameters()}
    module = made().to(device)
    shard(module, [module[0]])
    shares = dict(module.named_parameters())
    assert all(isinstance(share, DTensor) for share in shares.values())
    held = sum(share.to_local().numel() for share in shares.values() if isinstance(share, DTensor))
    total = sum(tensor.numel() for tensor in original.values())
    assert 0.3 * total < held < 0.7 * total, (held, total)

    gathered = whole_on_first(shares)
    assert gathered.keys() == (original.keys() if rank() == 0 else set())
    assert all(torch.equal(tensor, original[name]) for name, tensor in gathered.items())

    for name, share in shares.items():
        again = shared_like(2 * original[name], share)
        assert isinstance(again, DTensor)
        assert isinstance(share, DTensor)
        assert again.to_local().shape == share.to_local().shape
        assert torch.equal(whole(again), 2 * original[name])


def test_each_of_two_workers_holds_a_share(tmp_path):
    run_on_processes(worker, 2, tmp_path / "meeting")
