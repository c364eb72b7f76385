"""Micro-batches: outcomes gathered on their way to the tables.

Rows are committed before their ledger entries. A kill between the two leaves rows without an entry, which the
next run records (`record_lost`); the other order would leave entries that promise rows which do not exist.
Entries say what happened and may stand twice; rows stand once (`insertion`).
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from data_schemas.ledger import LedgerEntry
from data_schemas.row import Row
from pipelines.engine import ledger
from pipelines.engine.executor import Attempt
from pipelines.engine.insertion import Insertion
from pipelines.engine.lake import Lake
from pipelines.engine.stage import Done, Failed, Item, Outcome, Stage
from pipelines.engine.worker import EXCEPTION, WorkerStats

Settle = Callable[[Sequence[tuple[str, Any]]], Sequence[tuple[str, Any]]]
"""Gives rows by item id their last form, just before they are committed."""


@dataclass(frozen=True)
class CommitEvery:
    """A micro-batch ends with `rows` items, but not before `seconds`, and at the latest after `max_seconds`.

    The first two keep a fast stage from making hundreds of small files (a commit takes 20 to 40 ms), the third
    bounds what a kill can lose. It is looked at as items finish and, on Ray, every few seconds between.
    """

    rows: int = 64
    seconds: float = 2.0
    max_seconds: float = 10.0

    def is_due(self, rows: int, seconds: float) -> bool:
        return rows > 0 and seconds >= (self.seconds if rows >= self.rows else self.max_seconds)


class MicroBatches:
    """Takes the outcomes of one stage in one run and commits them.

    Args:
        insertion: where the rows go.
        setbacks: last attempt without success at every item that has no row; kept up to date here.
        max_exceptions: see `run_stage`.
    """

    def __init__(
        self,
        *,
        lake: Lake,
        stage: Stage,
        key: str,
        insertion: Insertion,
        run_id: str,
        commit_every: CommitEvery,
        setbacks: dict[str, LedgerEntry],
        settle: Settle | None = None,
        max_exceptions: int | None = None,
    ) -> None:
        self.num_done = 0
        """Rows that this run committed."""
        self.num_finished = 0
        """Items with a final attempt in this run."""
        self.setbacks = setbacks
        self._lake = lake
        self._stage = stage
        self._key = key
        self._insertion = insertion
        self._run_id = run_id
        self._commit_every = commit_every
        self._settle = settle or (lambda rows: rows)
        self._max_exceptions = max_exceptions
        self._rows: list[tuple[str, Row]] = []
        self._entries: list[LedgerEntry] = []
        self._last_commit = time.monotonic()

    def add(self, attempt: Attempt) -> None:
        """Take what came of an attempt."""
        item, outcome = attempt.item, self._judged(attempt)
        entry = self._entry(item, outcome, attempt.stats)
        self._entries.append(entry)
        self.num_finished += attempt.final
        if isinstance(outcome, Done):
            self._rows.append((item.item_id, outcome.row))
            self.setbacks.pop(item.item_id, None)
        else:
            self.setbacks[item.item_id] = entry

    def _judged(self, attempt: Attempt) -> Outcome:
        """The outcome of an attempt; an exception is for good where it came in too many runs."""
        outcome = attempt.outcome
        if self._max_exceptions is None or not isinstance(outcome, Failed) or outcome.reason != EXCEPTION:
            return outcome
        earlier = self._runs_with_exception.get(outcome.part or attempt.item.item_id, set())
        return replace(outcome, retryable=len(earlier | {self._run_id}) < self._max_exceptions)

    @cached_property
    def _runs_with_exception(self) -> dict[str, set[str]]:
        """Read when something raises, which it seldom does."""
        return ledger.runs_with_exception(self._lake, self._key)

    def commit_if_due(self) -> None:
        """Commit if the micro-batch is full or has waited long enough."""
        if self._commit_every.is_due(len(self._entries), time.monotonic() - self._last_commit):
            self.commit()

    def commit(self) -> None:
        """Rows first, then their ledger entries."""
        others = self._insertion.insert(self._settle(self._rows))
        self.num_done += len(self._rows) - len(others)
        self._rows = []
        entries = [
            replace(e, reason=ledger.ALREADY_DONE) if e.outcome == "done" and e.item_id in others else e
            for e in self._entries
        ]
        ledger.record(self._lake, self._key, entries)
        self._entries = []
        self._last_commit = time.monotonic()

    def record_lost(self, labels: Mapping[str, str]) -> None:
        """Ledger entries for rows (item id -> label) that an interrupted run committed without; their cost is unknown."""
        entries = [
            self._entry(Item(i, label, None), None, WorkerStats.unknown()) for i, label in labels.items()
        ]
        ledger.record(self._lake, self._key, entries)

    def reasons(self, outcome: str) -> dict[str, int]:
        """Reason -> items whose last attempt ended so, most frequent first."""
        entries = (entry for entry in self.setbacks.values() if entry.outcome == outcome)
        return dict(Counter(entry.reason for entry in entries).most_common())

    def _entry(self, item: Item, outcome: Outcome | None, stats: WorkerStats) -> LedgerEntry:
        before = self.setbacks.get(item.item_id)
        verdict = None if outcome is None or isinstance(outcome, Done) else outcome
        failed = verdict if isinstance(verdict, Failed) else None
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
            retryable=failed is not None and failed.retryable,
            worker=stats.worker,
            seconds=stats.seconds,
            peak_memory_mb=stats.peak_memory_mb,
            gpu_memory_mb=stats.gpu_memory_mb,
            finished_at=ledger.now(),
            exception=failed.exception if failed else "",
            traceback=failed.traceback if failed else "",
            part=failed.part if failed else "",
        )
