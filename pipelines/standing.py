"""How the stages of a run stand, also while it goes on: what is done, left out and left to do, how fast, how long still."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pipelines.curate import UPSTREAM
from pipelines.engine.lake import Lake
from pipelines.engine.ledger import tally
from pipelines.runs import RunRecord, StageProgress, StageRecord

State = Literal["over", "at work", "to come"]


@dataclass(frozen=True)
class Standing:
    """One stage of one run."""

    stage: str
    state: State
    total: int = 0
    done: int = 0
    """Items with a row, whichever run made it."""
    filtered: dict[str, int] | None = None
    """Reason -> items."""
    failed: dict[str, int] | None = None
    pending: int = 0
    finished: int = 0
    """Items that this run worked on."""
    seconds: float = 0.0
    """That this run has worked on the stage, to the last commit."""

    @property
    def rate(self) -> float:
        """Items per second."""
        return self.finished / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Until the stage is over at this rate; None where nothing can be said."""
        return self.pending / self.rate if self.rate > 0 else None


def standings(lake: Lake, run: RunRecord) -> list[Standing]:
    """Every stage in the order they run."""
    over = {stage.name: stage for stage in run.stages}
    return [
        _at_work(lake, run, run.current)
        if run.current is not None and run.current.name == name
        else _over(over[name])
        if name in over
        else Standing(name, "to come")
        for name in UPSTREAM
    ]


def _over(stage: StageRecord) -> Standing:
    return Standing(
        stage.name,
        "over",
        total=stage.total,
        done=stage.rows,
        filtered=stage.filtered,
        failed=stage.failed,
        finished=stage.processed,
        seconds=stage.seconds,
    )


def _at_work(lake: Lake, run: RunRecord, current: StageProgress) -> Standing:
    here, ever = tally(lake, current.key, run.run_id), tally(lake, current.key)
    finished = here.done + sum(here.filtered.values()) + sum(here.failed.values())
    started = datetime.fromisoformat(current.started_at)
    last = datetime.fromisoformat(here.last_finished_at) if here.last_finished_at else started
    return Standing(
        current.name,
        "at work",
        total=current.total,
        done=ever.done,
        filtered=ever.filtered,
        failed=ever.failed,
        pending=max(0, current.todo - finished),
        finished=finished,
        seconds=(last - started).total_seconds(),
    )
