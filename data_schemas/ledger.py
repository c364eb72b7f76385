"""The ledger: one row per item, stage and attempt."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from data_schemas.row import Row


@dataclass(frozen=True)
class LedgerEntry(Row):
    """What happened to one item in one attempt at one stage; or that an operator gave it another chance."""

    TABLE: ClassVar[str] = "ledger"

    item_id: str
    label: str
    """The item for people, e.g. its path."""
    stage: str
    stage_key: str
    run_id: str
    attempt: int
    outcome: str
    """`done`, `filtered`, `failed`, or `requeued` by `harp quarantine requeue`."""
    reason: str
    """Named reason of a filter or failure; when done empty, or `already_done` if another run's row was first."""
    detail: str
    """One sentence for people."""
    retryable: bool
    """The next run tries the item again. A failed item that is not retryable is in quarantine."""
    worker: str
    seconds: float
    peak_memory_mb: float
    finished_at: str
    """UTC, ISO 8601."""
    exception: str = ""
    """Class of what was raised, such as `ValueError`; empty where nothing was."""
    traceback: str = ""
    part: str = ""
    """Of an item made of others, such as a shard of subjects, the id of the one to blame."""
    gpu_memory_mb: float = 0.0
    """Highest GPU memory that the worker, or a process it started, held; 0 without a GPU."""

    @property
    def in_quarantine(self) -> bool:
        """Failed for good: no later run tries the item again by itself."""
        return self.outcome == "failed" and not self.retryable

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """Entries written before a column existed have null there."""
        absent = {item.name: item.default for item in fields(cls) if record.get(item.name) is None}
        return super().from_record({**record, **absent})
