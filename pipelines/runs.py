"""Run records: what one run of a curation did, kept beside the lake's tables for status pages and reports."""

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from data_schemas.errors import UserError
from pipelines.engine.lake import Lake


class StageRecord(BaseModel):
    """Counts of one stage in one run."""

    model_config = ConfigDict(extra="forbid")

    name: str
    key: str
    total: int
    already_done: int
    done: int
    filtered: dict[str, int]
    failed: dict[str, int]
    seconds: float


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
    stages: list[StageRecord] = []
    version_id: str | None = None
    version_is_new: bool = False

    @property
    def keys(self) -> dict[str, str]:
        """Stage name -> stage key."""
        return {stage.name: stage.key for stage in self.stages}

    @property
    def items_processed(self) -> int:
        """Items that some stage of this run computed; 0 means that there was nothing to do."""
        return sum(s.done + sum(s.filtered.values()) + sum(s.failed.values()) for s in self.stages)


def new_run_id(dataset: str) -> str:
    """Sorts by time within a data set."""
    return f"{dataset}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"


def save_run(lake: Lake, record: RunRecord) -> None:
    """Write or replace the record."""
    folder = lake.path / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{record.run_id}.json"
    temporary.write_text(record.model_dump_json(indent=1))
    temporary.replace(folder / f"{record.run_id}.json")


def latest_run(lake: Lake, dataset: str | None = None) -> RunRecord:
    """The newest record, of one data set or of any."""
    records = [RunRecord.model_validate_json(p.read_text()) for p in (lake.path / "runs").glob("*.json")]
    records = [r for r in records if dataset in (None, r.dataset)]
    if not records:
        wanted = f"of '{dataset}' " if dataset else ""
        raise UserError(f"No curation run {wanted}is recorded in {lake.path}: run `harp curate` with this lake first.")
    return max(records, key=lambda r: r.started_at)
