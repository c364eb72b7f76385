"""What the ledger says: which items are decided, how often each was tried, how the stages stand.

The latest attempt at an item decides. `done` and `filtered` items and items that failed for good are not
tried again under the same stage key; a retryable failure is.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc

from data_schemas.ledger import LedgerEntry
from pipelines.engine.lake import Lake


def done_ids(lake: Lake, stage_key: str) -> set[str]:
    """Items whose success is recorded under the key."""
    table = lake.table(LedgerEntry, stage_key, ["item_id"], pc.field("outcome") == "done")
    return set(table.column("item_id").to_pylist())


def setbacks(lake: Lake, stage_key: str) -> dict[str, LedgerEntry]:
    """The last attempt without success at every item that had one under the key, by item id."""
    columns = LedgerEntry.schema().names
    table = lake.table(LedgerEntry, stage_key, columns, pc.field("outcome") != "done")
    return {entry["item_id"]: LedgerEntry.from_record(entry) for entry in _last_per_item(table.to_pylist())}


def record(lake: Lake, stage_key: str, entries: Iterable[LedgerEntry]) -> None:
    """Commit entries of one stage key."""
    lake.append(LedgerEntry, stage_key, [(entry.item_id, entry) for entry in entries])


@dataclass(frozen=True)
class StageStatus:
    """How one stage stands under one key, by the latest attempt at every item."""

    stage: str
    stage_key: str
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
    latest_failures: list[LedgerEntry] = field(repr=False)
    """Up to `STATUS_FAILURES`, newest first."""


STATUS_FAILURES = 5


def stage_status(lake: Lake) -> list[StageStatus]:
    """Every stage and key that the ledger knows, the one that worked last at the end."""
    by_key: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in lake.table(LedgerEntry, columns=LedgerEntry.schema().names).to_pylist():
        by_key[entry["stage_key"]].append(entry)
    return sorted((_status(entries) for entries in by_key.values()), key=lambda s: s.last_finished_at)


def _status(entries: list[dict[str, Any]]) -> StageStatus:
    latest = list(_last_per_item(entries))
    reasons = {
        outcome: dict(
            Counter(entry["reason"] for entry in latest if entry["outcome"] == outcome).most_common()
        )
        for outcome in ("filtered", "failed")
    }
    failures = sorted(
        (entry for entry in latest if entry["outcome"] == "failed"),
        key=lambda entry: entry["finished_at"],
        reverse=True,
    )
    return StageStatus(
        stage=entries[0]["stage"],
        stage_key=entries[0]["stage_key"],
        done=sum(entry["outcome"] == "done" for entry in latest),
        filtered=reasons["filtered"],
        failed=reasons["failed"],
        to_retry=sum(entry["retryable"] for entry in failures),
        attempts=len(entries),
        busy_seconds=sum(entry["seconds"] for entry in entries),
        last_finished_at=max(entry["finished_at"] for entry in entries),
        latest_failures=[LedgerEntry.from_record(entry) for entry in failures[:STATUS_FAILURES]],
    )


def _last_per_item(entries: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    last = {}
    for entry in sorted(entries, key=lambda e: (e["item_id"], e["attempt"], e["finished_at"])):
        last[entry["item_id"]] = entry
    return last.values()
