"""The ledger: one row per item, stage and attempt."""

from dataclasses import dataclass
from typing import ClassVar

from data_schemas.row import Row


@dataclass(frozen=True)
class LedgerEntry(Row):
    """What happened to one item in one attempt at one stage."""

    TABLE: ClassVar[str] = "ledger"

    item_id: str
    label: str
    """The item for people, e.g. its path."""
    stage: str
    stage_key: str
    run_id: str
    attempt: int
    outcome: str
    """`done`, `filtered` or `failed`."""
    reason: str
    """Named reason of a filter or failure; empty when done."""
    detail: str
    """One sentence, or the traceback of an unexpected exception."""
    retryable: bool
    worker: str
    seconds: float
    peak_memory_mb: float
    finished_at: str
    """UTC, ISO 8601."""
