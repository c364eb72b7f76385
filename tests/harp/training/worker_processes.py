"""Workers as plain processes joined by gloo, without Ray."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import distributed, multiprocessing


def run_on_processes(work: Callable[[torch.device], None], workers: int, meeting: Path) -> None:
    """Call `work` on every worker; `meeting` is a file that does not exist yet. Raises what a worker raised."""
    multiprocessing.spawn(_start, (work, workers, meeting), nprocs=workers)


def _start(rank: int, work: Callable[[torch.device], None], workers: int, meeting: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=workers)
    work(torch.device("cpu"))
    distributed.destroy_process_group()
