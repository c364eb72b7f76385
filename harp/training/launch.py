"""Where a training run goes: this process, or workers on Ray. Commands and flows ask here."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harp.training.stage1 import Launch


def launcher(workers: int, run: Path, address: str | None = None) -> "Launch | None":
    """What starts the workers of a run, or None for this process alone.

    A cluster is used for one worker as well: its GPU may be the only one, where the machine that starts the run has none.

    Args:
        run: folder of the run. On a cluster it has to be shared by all machines, as the data and the caches beside it.
        address: Ray cluster; by default the one at RAY_ADDRESS, or this machine where that is not set.
    """
    if workers == 1 and not (address or os.environ.get("RAY_ADDRESS")):
        return None
    from harp.training.ray_workers import OnRay  # loading Ray takes half a second

    return OnRay(workers, run, address)
