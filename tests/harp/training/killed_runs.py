"""Runs that die on the way, and what they log."""

from pathlib import Path

from harp.training.metrics import read_metrics
from harp.training.progress import Observers


class Killed(Exception):
    pass


def kill_at(step: int) -> Observers:
    def observe(done: int, total: int, metrics: dict[str, float]) -> None:
        if done == step:
            raise Killed

    return Observers(features=lambda done, total: None, step=observe)


def losses(run: Path) -> list[dict[str, float]]:
    """All that a run logged but times."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(run)]
