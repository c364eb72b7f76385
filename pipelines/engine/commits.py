"""Micro-batches: outcomes gathered on their way to the tables.

Rows are committed before their ledger entries. A kill between the two leaves rows without an entry, which the
next run records (`record_lost`); the other order would leave entries that promise rows which do not exist.
"""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from data_schemas.ledger import LedgerEntry
from data_schemas.row import Row
from pipelines.engine import ledger
from pipelines.engine.lake import Lake
from pipelines.engine.stage import Done, Failed, Item, Outcome, Stage
from pipelines.engine.worker import WorkerStats


@dataclass(frozen=True)
class CommitEvery:
    """A micro-batch ends with `rows` items, but not before `seconds`, and at the latest after `max_seconds`.

    The first two keep a fast stage from making hundreds of small files (a commit takes 20 to 40 ms), the third
    bounds what a kill can lose.
    """

    rows: int = 64
    seconds: float = 2.0
    max_seconds: float = 10.0

    def is_due(self, rows: int, seconds: float) -> bool:
        return rows > 0 and seconds >= (self.seconds if rows >= self.rows else self.max_seconds)


class MicroBatches:
    """Takes the outcomes of one stage in one run and commits them.

    Args:
        setbacks: last attempt without success at every item that has no row; kept up to date here.
    """

    def __init__(
        self,
        *,
        lake: Lake,
        stage: Stage,
        key: str,
        run_id: str,
        commit_every: CommitEvery,
        setbacks: dict[str, LedgerEntry],
    ) -> None:
        self.num_done = 0
        self.setbacks = setbacks
        self._lake = lake
        self._stage = stage
        self._key = key
        self._run_id = run_id
        self._commit_every = commit_every
        self._rows: list[tuple[str, Row]] = []
        self._entries: list[LedgerEntry] = []
        self._last_commit = time.monotonic()

    def add(self, item: Item, outcome: Outcome, stats: WorkerStats) -> None:
        """Commits when a micro-batch is full."""
        entry = self._entry(item, outcome, stats)
        self._entries.append(entry)
        if isinstance(outcome, Done):
            self._rows.append((item.item_id, outcome.row))
            self.setbacks.pop(item.item_id, None)
            self.num_done += 1
        else:
            self.setbacks[item.item_id] = entry
        if self._commit_every.is_due(len(self._entries), time.monotonic() - self._last_commit):
            self.commit()

    def commit(self) -> None:
        """Rows first, then their ledger entries."""
        self._lake.append(self._stage.row, self._key, self._rows)
        self._rows = []
        ledger.record(self._lake, self._key, self._entries)
        self._entries = []
        self._last_commit = time.monotonic()

    def record_lost(self, items: Iterable[Item]) -> None:
        """Ledger entries for rows that an interrupted run committed without; what they cost is unknown."""
        unknown = WorkerStats(worker="", seconds=0.0, peak_memory_mb=0.0)
        entries = [self._entry(item, None, unknown) for item in items]
        ledger.record(self._lake, self._key, entries)

    def reasons(self, outcome: str) -> dict[str, int]:
        """Reason -> items whose last attempt ended so, most frequent first."""
        entries = (entry for entry in self.setbacks.values() if entry.outcome == outcome)
        return dict(Counter(entry.reason for entry in entries).most_common())

    def _entry(self, item: Item, outcome: Outcome | None, stats: WorkerStats) -> LedgerEntry:
        before = self.setbacks.get(item.item_id)
        verdict = None if outcome is None or isinstance(outcome, Done) else outcome
        return LedgerEntry(
            item_id=item.item_id,
            label=item.label,
            stage=self._stage.name,
            stage_key=self._key,
            run_id=self._run_id,
            attempt=before.attempt + 1 if before else 1,
            outcome=type(verdict).__name__.lower() if verdict else "done",
            reason=verdict.reason if verdict else "",
            detail=verdict.detail if verdict else "",
            retryable=isinstance(verdict, Failed) and verdict.retryable,
            worker=stats.worker,
            seconds=stats.seconds,
            peak_memory_mb=stats.peak_memory_mb,
            finished_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
