"""Where a stage runs. An executor streams what came of each attempt, in any order; it knows no tables."""

from abc import abstractmethod
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from pydantic import Field

from data_schemas.strict_model import StrictModel
from pipelines.engine.stage import Item, Outcome, Stage
from pipelines.engine.worker import WorkerStats, process_batch


class Limits(StrictModel):
    """What a worker may take. Part of no key: limits decide whether there is a row, not which."""

    item_seconds: float = Field(default=3600.0, gt=0)
    """An item that takes longer is broken: its worker is killed and the item failed as `timeout`."""
    worker_seconds: float = Field(default=3600.0, gt=0)
    """A worker this old is replaced between two batches, so that what decoders and models leak stays bounded."""
    memory_factor: float = Field(default=4.0, ge=1)
    """A worker that takes so many times the memory that its stage sets aside is killed, and the item it is at failed as
    `memory_limit`. A long video in high definition may take several times what most take."""


@dataclass(frozen=True)
class Attempt:
    """What came of one attempt at one item."""

    item: Item
    outcome: Outcome
    stats: WorkerStats
    final: bool = True
    """False where the executor itself tries the item again."""


class Items(Protocol):
    """Items to be taken one by one; `len` is how many there are at most."""

    def __iter__(self) -> Iterator[Item]: ...

    def __len__(self) -> int: ...


class Executor(AbstractContextManager):
    """A context that outlives one stage, so that the stages of a run share what is dear to start."""

    @property
    def is_here(self) -> bool:
        """Whether all workers are on this machine."""
        return True

    @abstractmethod
    def run(
        self, stage: Stage, items: Items, limits: Limits | None = None
    ) -> Generator[Attempt | None, None, None]:
        """One final attempt at every item, in any order, as it finishes; before it those that came to nothing.

        None now and then while nothing finishes, so that the consumer can see to what it holds already.
        Items are taken when a worker is free for them, never ahead. What the stage's `setup` raises, this raises.
        """


class LocalExecutor(Executor):
    """One batch after another in this process: for tests and debugging. A stage that crashes takes all along.

    There is nobody to enforce limits: the process is the worker. Nor can it say None while a batch is worked on, so that
    what is finished waits for the next batch, however long that takes.
    """

    def __exit__(self, *exception: object) -> None:
        """There is nothing to give back."""

    def run(
        self, stage: Stage, items: Items, limits: Limits | None = None
    ) -> Generator[Attempt | None, None, None]:
        try:
            stage.setup()
            for batch in batches(items, stage.batch_size):
                for item, (outcome, stats) in zip(batch, process_batch(stage, batch), strict=True):
                    yield Attempt(item, outcome, stats)
        finally:
            stage.teardown()


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in order, `size` at a time, taken from the source as late as possible."""
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
