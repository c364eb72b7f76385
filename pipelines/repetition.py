"""Tells a run that it would only repeat the latest one, which found nothing to do.

To plan over 200,000 demonstrations takes as long as to find them. But a plan follows from the clips that were found, the
recipe, the rows and ledger entries that the lake has under the recipe's keys, and the code: if none of these has changed since a
run that had nothing to do, there is nothing to do now. All of them are compared by one hash, kept in the run's record.
"""

from collections.abc import Mapping
from pathlib import Path

import data_schemas
import pipelines
from data_schemas.identity import content_id
from data_schemas.ledger import LedgerEntry
from pipelines.engine.lake import Lake
from pipelines.engine.stage import Stage
from pipelines.runs import RunRecord, latest_run_or_none
from pipelines.shards.publish import is_published


def basis_of(lake: Lake, record: RunRecord, stages: Mapping[str, Stage], keys: Mapping[str, str]) -> str:
    """Hash of all that the plans of a run follow from, as it stands now.

    Args:
        record: of the run, with its sources.
    """
    tables = [(stage.row, keys[name]) for name, stage in stages.items()]
    tables += [(LedgerEntry, key) for key in keys.values()]
    # A file of a table is never changed, so that its name stands for its rows.
    files = [name for row_class, key in tables for name in ("", *lake.files(row_class, key))]
    return content_id("basis", str(record.sources), str(record.recipe), *keys.values(), _code(), *files)


def repeated_run(lake: Lake, record: RunRecord) -> RunRecord | None:
    """The latest run of the data set, if it did nothing on the same basis and what it published stands."""
    latest = latest_run_or_none(lake, record.dataset)
    if latest is None or latest.basis is None or latest.basis != record.basis:
        return None
    if latest.items_processed or latest.version_id is None or not is_published(lake, latest.version_id):
        return None
    return latest


def _code() -> str:
    """Hash of the source of the packages that plan: a new release may plan otherwise."""
    folders = [Path(path) for package in (pipelines, data_schemas) for path in package.__path__]
    return content_id(
        "code", *(path.read_text("utf-8") for folder in folders for path in sorted(folder.rglob("*.py")))
    )
