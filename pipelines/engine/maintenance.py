"""Keeps a lake small and quick: joins the files of many commits, shortens the log, removes what nobody needs.

Every commit adds a file per stage key; a lake fed every night has thousands. Compaction joins them, in the order of the
item ids, so that reading a few items skips the rest by statistics. It conflicts with no append, and what nothing was
appended to is left alone: a key of 30 GB is many files also when they are joined. Files that were joined
stay until they are older than the retention, so that a reader that opened the table before, and time travel
within that time, still find them.
"""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable, WriterProperties
from filelock import FileLock, Timeout

from data_schemas.camera import CameraMotion
from data_schemas.cues import ObjectTrack, WristTrack
from data_schemas.demonstrations import Demonstration
from data_schemas.errors import UserError
from data_schemas.latent_actions import LABELS, LatentActions
from data_schemas.ledger import LedgerEntry
from data_schemas.pairs import Alignment, Shard, Verdict
from data_schemas.row import Row
from data_schemas.storage import is_remote
from data_schemas.whole_files import move_if_absent, temporary
from pipelines.engine.lake import Lake
from pipelines.engine.worker import worker_name

TABLES: tuple[type[Row], ...] = (
    Demonstration,
    WristTrack,
    CameraMotion,
    ObjectTrack,
    Alignment,
    Verdict,
    Shard,
    LatentActions,
    LedgerEntry,
)

MIN_RETENTION_HOURS = 24
"""A run may hold a version of a table for as long; less could take files away under a reader."""

LOCK = ".optimize.lock"
"""In the lake's root."""

MAX_FILES_PER_KEY = 4
"""A stage key with no more new files than this is left as it is."""

JOINED, JOINED_SUFFIX = WriterProperties(compression="ZSTD", compression_level=4), ".zstd.parquet"
"""How joined files are written, and what their names then end with: those of commits end with `.snappy.parquet`."""


@dataclass(frozen=True)
class Optimized:
    """What was done to one table."""

    table: str
    files_before: int
    files_after: int
    removed: int
    """Files that no version within the retention needs."""


def optimize(lake: Lake, retention_hours: int = 7 * 24) -> Iterator[Optimized]:
    """Compact every table of the lake, and remove files that are older than the retention and no longer part of it.

    Raises:
        UserError: the retention is too short to be safe, the lake cannot be written to, or another process optimizes it.
    """
    if retention_hours < MIN_RETENTION_HOURS:
        raise UserError(
            f"A retention of {retention_hours} h could remove files that a run still reads: give at least "
            f"{MIN_RETENTION_HOURS} h."
        )
    with _alone(lake):
        for row_class in TABLES:
            delta = lake.existing(row_class)
            if delta is not None:
                with lake.writing():
                    yield _optimize(row_class.TABLE, delta, retention_hours)
        if not is_remote(lake.folder):
            remove_drafts(lake.folder, retention_hours)


@contextmanager
def _alone(lake: Lake) -> Generator[None]:
    """One optimization of a lake at a time.

    Delta Lake sees no conflict between two that join the same files, as neither changes data: both results would stand,
    and every row twice. On disk the lock ends with its process; in an object store it may outlive one that was killed.
    """
    path = lake.folder / LOCK
    refusal = f"The lake {lake.root} is being optimized by another process: run again when that is over."
    if not is_remote(path):
        with lake.writing():
            try:
                lock = FileLock(path).acquire(timeout=0)
            except Timeout:
                raise UserError(refusal) from None
        with lock:
            yield
        return
    with temporary(lake.folder) as draft:
        draft.write_text(worker_name())
        if not move_if_absent(draft, path):
            raise UserError(f"{refusal} If {path.read_text()} is no more, remove {path}.")
    try:
        yield
    finally:
        path.unlink()


def _optimize(name: str, delta: DeltaTable, retention_hours: int) -> Optimized:
    before = len(delta.file_uris())
    for key in sorted({partition["stage_key"] for partition in delta.partitions()}):
        chosen = [("stage_key", "=", key)]
        new = [name for name in delta.file_uris(chosen) if not name.endswith(JOINED_SUFFIX)]
        if len(new) > MAX_FILES_PER_KEY:
            delta.optimize.z_order(["item_id"], partition_filters=chosen, writer_properties=JOINED)
    delta.create_checkpoint()
    removed = delta.vacuum(retention_hours, dry_run=False, enforce_retention_duration=False)
    delta.cleanup_metadata()
    return Optimized(name, before, len(delta.file_uris()), len(removed))


def remove_drafts(root: Path, older_than_hours: float) -> int:
    """Remove temporary files of writers that were killed; how many there were."""
    oldest = time.time() - older_than_hours * 3600
    removed = 0
    for folder in ("shards", "versions", "runs", LABELS):
        for path in (root / folder).rglob(".*.tmp"):
            with suppress(FileNotFoundError):  # its writer has just finished it
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    removed += 1
    return removed
