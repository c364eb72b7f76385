"""Where a stage runs. An executor streams outcomes in any order; it knows no tables."""

from abc import abstractmethod
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager

from pipelines.engine.stage import Item, Outcome, Stage
from pipelines.engine.worker import WorkerStats, process_batch

Result = tuple[Item, Outcome, WorkerStats]


class Executor(AbstractContextManager):
    """A context that outlives one stage, so that the stages of a run share what is dear to start."""

    @abstractmethod
    def run(self, stage: Stage, items: Sequence[Item]) -> Generator[Result, None, None]:
        """Every item exactly once, in any order, as it finishes. What the stage's `setup` raises, this raises."""


class LocalExecutor(Executor):
    """One batch after another in this process: for tests and debugging. A stage that crashes takes all along."""

    def __exit__(self, *exception: object) -> None:
        """There is nothing to give back."""

    def run(self, stage: Stage, items: Sequence[Item]) -> Generator[Result, None, None]:
        try:
            stage.setup()
            for batch in batches(stage, items):
                for item, (outcome, stats) in zip(batch, process_batch(stage, batch), strict=True):
                    yield item, outcome, stats
        finally:
            stage.teardown()


def batches(stage: Stage, items: Sequence[Item]) -> list[Sequence[Item]]:
    """The items in order, `stage.batch_size` at a time."""
    return [items[first : first + stage.batch_size] for first in range(0, len(items), stage.batch_size)]
