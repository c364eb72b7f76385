"""Standardized latents: two workers with unequal parts give what one worker with the whole batch gives."""

from pathlib import Path

import torch
from torch import distributed as dist
from torch import multiprocessing

from harp.latent_action.normalization import LatentNorm

BATCH = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)) * 3 + 1
WEIGHTS = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
PARTS = (slice(0, 3), slice(3, 7))


def run(rows: slice) -> tuple[torch.Tensor, ...]:
    """Output, gradient and running statistics of one worker."""
    norm = LatentNorm(5)
    x = BATCH[rows].clone().requires_grad_()
    y = norm(x)
    (y * WEIGHTS[rows]).sum().backward()
    assert x.grad is not None
    return y.detach(), x.grad, norm.running_mean, norm.running_var


def worker(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=len(PARTS))
    torch.save(run(PARTS[rank]), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_workers_equal_one(tmp_path: Path) -> None:
    multiprocessing.start_processes(worker, (str(tmp_path),), nprocs=len(PARTS), start_method="fork")
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in range(len(PARTS))]
    output, gradient, mean, variance = run(slice(None))
    torch.testing.assert_close(torch.cat([result[0] for result in results]), output)
    torch.testing.assert_close(torch.cat([result[1] for result in results]), gradient, atol=1e-5, rtol=1e-4)
    for result in results:
        torch.testing.assert_close(result[2], mean)
        torch.testing.assert_close(result[3], variance)


def test_one_worker_is_batch_norm() -> None:
    ours, reference = LatentNorm(5), torch.nn.BatchNorm1d(5, affine=False)
    assert torch.equal(ours(BATCH), reference(BATCH))
    assert ours.state_dict().keys() == reference.state_dict().keys()
