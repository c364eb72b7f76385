"""The contract of a stage, and the three things that can happen to an item.

A stage turns items into rows of one table. It knows nothing of executors, tables or ledgers, so that one
stage runs in process, on Ray actors, or alone in a test. Decoding happens inside the stage that needs the
frames; frames never travel between processes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Self, TypeVar

from data_schemas.identity import stage_key
from data_schemas.row import Row
from data_schemas.strict_model import StrictModel

Payload = TypeVar("Payload")


class StageConfig(StrictModel):
    """Base of all stage configurations: what changes a row, and nothing else (no paths, no worker counts)."""


Config = TypeVar("Config", bound=StageConfig)


@dataclass(frozen=True)
class Resources:
    """What one worker of a stage needs. Part of no key."""

    cpus: float = 1.0
    gpus: float | None = 0.0
    """A fraction is shared with other workers. None: one where the workers run on a cluster that has any, else none;
    the machine that starts the run may have none itself."""
    memory_gb: float | None = None
    """Set aside for it on the cluster. It may pass that for a while, see `Limits.memory_factor`; None: no limit."""

    def on(self, cluster: Mapping[str, float]) -> Self:
        """The same with a number of GPUs, given the resources of a cluster as Ray names them."""
        if self.gpus is not None:
            return self
        return replace(self, gpus=1.0 if cluster.get("GPU", 0.0) > 0 else 0.0)


LIGHT = Resources(cpus=1.0, memory_gb=1.0)
"""Of stages without a large model. Measured private memory: 0.4 GB on clips of 224 px. Stages that need the same take
over each other's workers, so that a curation starts its processes once."""


@dataclass(frozen=True)
class Done:
    """The item's row; the engine adds `item_id` and `stage_key` and commits it."""

    row: Row


@dataclass(frozen=True)
class Filtered:
    """The item is sound but not wanted, for a named reason."""

    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Failed:
    """The item is broken (`retryable=False`) or could not be processed this time (`retryable=True`)."""

    reason: str
    detail: str
    retryable: bool = False
    part: str = ""
    """Of an item that is made of others, the id of the one to blame."""
    exception: str = ""
    """Class of what was raised, where something was."""
    traceback: str = ""


Outcome = Done | Filtered | Failed


@dataclass(frozen=True)
class Item(Generic[Payload]):
    """One unit of work: a stable id, a label for people, and what the stage reads (must pickle)."""

    item_id: str
    label: str
    payload: Payload


class Stage(ABC, Generic[Payload, Config]):
    """One kind of work on items of one kind.

    `process` returns one outcome per payload, in order. An exception that escapes it is blamed on the
    batch's items one by one: the engine repeats them singly. `BadInput` becomes a `Failed` with its reason;
    any other exception becomes a retryable `Failed("exception", …)` with its traceback, or `"system_error"` where it is
    the machine's or the network's.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    row: ClassVar[type[Row]]
    resources: Resources = LIGHT
    batch_size: int = 1

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def models(self) -> Sequence[str]:
        """`model@revision` of every model that the stage runs."""
        return ()

    @property
    def memory_outside_mb(self) -> tuple[float, float]:
        """Highest memory, and GPU memory, of processes that the stage has started beside its worker."""
        return 0.0, 0.0

    def key(self, upstream: Iterable[str]) -> str:
        """Key under which this stage stores its rows, given the keys of the stages it reads from."""
        return stage_key(self.name, self.version, self.config.model_dump(mode="json"), self.models, upstream)

    def check(self) -> None:
        """See, without loading anything, that what `setup` takes from this machine is there.

        Raises:
            UserError: it is not; says how to get it.
        """

    def setup(self) -> None:
        """Load models once per worker. Called in the worker, before the first batch."""

    @abstractmethod
    def process(self, batch: Sequence[Payload]) -> list[Outcome]:
        """One outcome per payload, in order."""

    def teardown(self) -> None:
        """Release what `setup` took; must tolerate a `setup` that failed."""

    def describe(self) -> dict[str, Any]:
        """For reports: name, version, configuration and models."""
        return {
            "name": self.name,
            "version": self.version,
            "config": self.config.model_dump(mode="json"),
            "models": list(self.models),
        }
