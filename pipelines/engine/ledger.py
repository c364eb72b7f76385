"""What the ledger says: which items are decided, how often each was tried, how the stages stand.

The latest attempt at an item decides. `done` and `filtered` items and items that failed for good are not
tried again under the same stage key; a retryable failure is. Items that failed for good are in quarantine until
someone requeues them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data_schemas.ledger import LedgerEntry
from pipelines.engine.lake import Condition, Lake
from pipelines.engine.worker import EXCEPTION

ALREADY_DONE = "already_done"
"""Reason of a `done` entry whose row was not written, because another run's was there first."""

MAX_EXCEPTIONS = 3
"""Runs in which an item may end with an exception; after them it is in quarantine. What is no bug but a passing trouble
has then had three nights to pass, and a pair does not wait for ever."""


def now() -> str:
    """UTC, ISO 8601, to the microsecond, so that entries sort by time."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def record(lake: Lake, stage_key: str, entries: Iterable[LedgerEntry]) -> None:
    """Commit entries of one stage key."""
    lake.append(LedgerEntry, stage_key, [(entry.item_id, entry) for entry in entries])


def done_ids(lake: Lake, stage_key: str) -> pa.ChunkedArray:
    """Items whose success is recorded under the key; some may stand twice."""
    return lake.table(LedgerEntry, stage_key, ["item_id"], [("outcome", "=", "done")]).column("item_id")


def setbacks(lake: Lake, stage_key: str) -> dict[str, LedgerEntry]:
    """The last attempt without success at every item that had one under the key, by item id."""
    columns = LedgerEntry.schema().names
    table = lake.table(LedgerEntry, stage_key, columns, [("outcome", "!=", "done")])
    return {entry["item_id"]: LedgerEntry.from_record(entry) for entry in _last_per_item(table.to_pylist())}


def unsolved(lake: Lake, stage_key: str) -> dict[str, LedgerEntry]:
    """`setbacks` of the items that were never done."""
    found = setbacks(lake, stage_key)
    done = set(done_ids(lake, stage_key).to_pylist()) if found else set()
    return {item_id: entry for item_id, entry in found.items() if item_id not in done}


def runs_with_exception(lake: Lake, stage_key: str) -> dict[str, set[str]]:
    """Item, or the part of it that is to blame -> ids of the runs in which it ended with an exception."""
    of_exceptions: list[Condition] = [("outcome", "=", "failed"), ("reason", "=", EXCEPTION)]
    runs: dict[str, set[str]] = defaultdict(set)
    for entry in lake.table(LedgerEntry, stage_key, ["item_id", "part", "run_id"], of_exceptions).to_pylist():
        runs[entry["part"] or entry["item_id"]].add(entry["run_id"])
    return runs


def requeue(lake: Lake, entries: Iterable[LedgerEntry]) -> None:
    """Give items another chance in the next run; their earlier attempts stay recorded."""
    by_key: dict[str, list[LedgerEntry]] = {}
    for entry in entries:
        chance = replace(
            entry,
            outcome="requeued",
            retryable=True,
            worker="",
            seconds=0.0,
            peak_memory_mb=0.0,
            gpu_memory_mb=0.0,
            finished_at=now(),
            exception="",
            traceback="",
        )
        by_key.setdefault(entry.stage_key, []).append(chance)
    for stage_key, chances in by_key.items():
        record(lake, stage_key, chances)


def attempts_at(lake: Lake, item_id: str) -> list[LedgerEntry]:
    """Everything recorded about an item, or about those of which it is a part, the oldest first."""
    columns = LedgerEntry.schema().names
    tables = [lake.table(LedgerEntry, None, columns, [(name, "=", item_id)]) for name in ("item_id", "part")]
    entries = [LedgerEntry.from_record(record) for table in tables for record in table.to_pylist()]
    return sorted(entries, key=lambda e: e.finished_at)


@dataclass(frozen=True)
class Tally:
    """How one stage stands under one key, by the latest attempt at every item."""

    done: int
    filtered: dict[str, int]
    """Reason -> items."""
    failed: dict[str, int]
    """Reason -> items; those to be tried again are among them."""
    to_retry: int
    attempts: int
    """Of all items together."""
    busy_seconds: float
    """Compute time of all attempts."""
    last_finished_at: str


def tally(lake: Lake, stage_key: str, run_id: str | None = None) -> Tally:
    """Count what the ledger knows of one stage key; of one run or of all."""
    columns = ["item_id", "outcome", "seconds", "finished_at"]
    table = lake.table(LedgerEntry, stage_key, columns, [] if run_id is None else [("run_id", "=", run_id)])
    done = table.filter(pc.field("outcome") == "done").column("item_id")
    latest = [
        entry for entry in unsolved(lake, stage_key).values() if run_id is None or entry.run_id == run_id
    ]
    reasons = {
        outcome: dict(Counter(e.reason for e in latest if e.outcome == outcome).most_common())
        for outcome in ("filtered", "failed")
    }
    return Tally(
        done=len(done.unique()),
        filtered=reasons["filtered"],
        failed=reasons["failed"],
        to_retry=sum(e.retryable for e in latest),
        attempts=_number(table, "requeued"),
        busy_seconds=float(table.column("seconds").to_numpy().sum()),
        last_finished_at=max(table.column("finished_at").to_pylist(), default=""),
    )


def _number(table: pa.Table, other_than: str) -> int:
    return table.filter(pc.field("outcome") != other_than).num_rows


def _last_per_item(entries: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    return {entry["item_id"]: entry for entry in sorted(entries, key=_order)}.values()


def _order(entry: dict[str, Any]) -> tuple[str, int, bool, str]:
    """A requeue has the number of the attempt that it answers; it comes after it whatever the operator's clock says."""
    return entry["item_id"], entry["attempt"], entry["outcome"] == "requeued", entry["finished_at"]
