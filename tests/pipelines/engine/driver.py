"""A driver to be killed: `python -m tests.pipelines.engine.driver LAKE EXECUTOR NUM_ITEMS SECONDS`."""

import sys

from pipelines.engine.commits import CommitEvery
from pipelines.engine.executors import make_executor
from pipelines.engine.lake import Lake
from pipelines.engine.runner import run_stage
from tests.pipelines.engine.toy import PowerConfig, PowerStage, numbers


def main(lake: str, executor: str, num_items: str, seconds: str) -> None:
    with make_executor("ray" if executor == "ray" else "local") as workers:
        stage = PowerStage(PowerConfig(seconds=float(seconds)))
        commit_every = CommitEvery(rows=1, seconds=0.0)
        print(
            run_stage(stage, numbers(*range(int(num_items))), Lake(lake), workers, commit_every=commit_every)
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
