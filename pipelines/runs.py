"""Run records: what one run of a curation did, kept beside the lake's tables for status pages and reports."""

from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from data_schemas.errors import UserError
from data_schemas.ledger import LedgerEntry
from pipelines.engine.lake import Lake
from pipelines.engine.ledger import done_ids, setbacks


class StageRecord(BaseModel):
    """How one stage stood after one run: `total = already_done + done + filtered + failed`."""

    model_config = ConfigDict(extra="forbid")

    name: str
    key: str
    total: int
    processed: int
    """Items that this run worked on."""
    already_done: int
    done: int
    filtered: dict[str, int]
    """Reason -> items, of this run and earlier ones."""
    failed: dict[str, int]
    seconds: float

    @property
    def rows(self) -> int:
        """Items with a result."""
        return self.already_done + self.done


class RunRecord(BaseModel):
    """Content of `runs/<run_id>.json`. `raw_root` is this machine's path: it is no part of any key or version."""

    model_config = ConfigDict(extra="forbid")

    run_id: str
    dataset: str
    recipe: dict
    raw_root: str
    executor: str
    started_at: str
    finished_at: str | None = None
    sources: list[str] = []
    """Item ids of the clips that the run found: the lake may hold others, of other runs."""
    stages: list[StageRecord] = []
    version_id: str | None = None
    version_is_new: bool = False

    @property
    def stage_keys(self) -> dict[str, str]:
        """Stage name -> stage key."""
        return {stage.name: stage.key for stage in self.stages}

    @property
    def items_processed(self) -> int:
        """Items that some stage of this run computed; 0 means that there was nothing to do."""
        return sum(stage.processed for stage in self.stages)


def new_run_id(dataset: str) -> str:
    """Sorts by time within a data set."""
    return f"{dataset}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"


def save_run(lake: Lake, record: RunRecord) -> None:
    """Write or replace the record."""
    folder = Path(lake.root) / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{record.run_id}.json"
    temporary.write_text(record.model_dump_json(indent=1))
    temporary.replace(folder / f"{record.run_id}.json")


def latest_run(lake: Lake, dataset: str | None = None) -> RunRecord:
    """The newest record, of one data set or of any."""
    records = [
        RunRecord.model_validate_json(p.read_text()) for p in (Path(lake.root) / "runs").glob("*.json")
    ]
    records = [r for r in records if dataset in (None, r.dataset)]
    if not records:
        wanted = f"of '{dataset}' " if dataset else ""
        raise UserError(
            f"No curation run {wanted}is recorded in {lake.root}: run `harp curate` with this lake first."
        )
    return max(records, key=lambda r: r.started_at)


def problems(lake: Lake, run: RunRecord) -> list[LedgerEntry]:
    """What is filtered or failed under the run's keys: failures first, then by stage and item.

    Of clips that the run did not find, those that failed at ingestion are left out.
    """
    found = set(run.sources)
    entries: list[LedgerEntry] = []
    for stage in run.stages:
        done = done_ids(lake, stage.key)
        entries += [
            entry
            for item_id, entry in setbacks(lake, stage.key).items()
            if item_id not in done and (stage.name != "ingest" or item_id in found)
        ]
    return sorted(entries, key=lambda e: (e.outcome != "failed", e.stage, e.label))
