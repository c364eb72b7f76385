"""Run records: what one run of a curation did, kept beside the lake's tables for status pages and reports.

Which clips a run found is kept once per set of clips, in `runs/sources/<hash>.parquet`: a nightly run over the
same 200,000 clips adds a record of 3 kB.
"""

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from data_schemas.errors import UserError
from data_schemas.identity import content_id
from data_schemas.whole_files import replacing
from pipelines.engine.lake import Lake
from pipelines.reverted import Reverted


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


class StageProgress(BaseModel):
    """The stage that a run is at."""

    model_config = ConfigDict(extra="forbid")

    name: str
    key: str
    total: int
    todo: int
    """Items that had to be done when the stage began."""
    started_at: str


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
    sources: str | list[str] = []
    """Name of the list of clips that the run found, see `read_sources`: the lake may hold others, of other runs.
    Early records hold the item ids themselves."""
    current: StageProgress | None = None
    """While the run goes on, and after it was killed: the stage that it is at."""
    stages: list[StageRecord] = []
    """Those that are over."""
    left_out: list[str] = []
    """Accepted subjects that could not be packed into a shard."""
    version_id: str | None = None
    version_is_new: bool = False
    reverted: Reverted | None = None
    """The version that was the latest before, where the run went back to earlier settings."""
    basis: str | None = None
    """Hash of all that the run's plans followed from, see `repetition`."""

    @property
    def stage_keys(self) -> dict[str, str]:
        """Stage name -> stage key."""
        return {stage.name: stage.key for stage in self.stages}

    @property
    def all_keys(self) -> dict[str, str]:
        """`stage_keys`, with that of the stage that the run is at."""
        return self.stage_keys | ({self.current.name: self.current.key} if self.current else {})

    @property
    def items_processed(self) -> int:
        """Items that some stage of this run computed; 0 means that there was nothing to do."""
        return sum(stage.processed for stage in self.stages)

    def begin(self, name: str, key: str, total: int, todo: int) -> None:
        """A stage starts to work."""
        started_at = datetime.now(UTC).isoformat()
        self.current = StageProgress(name=name, key=key, total=total, todo=todo, started_at=started_at)

    def end(self, stage: StageRecord) -> None:
        """A stage is over; if it is over a second time, both did its work."""
        earlier = next((s for s in self.stages if s.name == stage.name), None)
        if earlier is not None:
            self.stages.remove(earlier)
            stage.processed = max(stage.processed, earlier.processed)
        self.stages.append(stage)
        self.current = None


def new_run_id(dataset: str) -> str:
    """Sorts by time within a data set; two runs that start together differ."""
    return f"{dataset}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(2)}"


def save_run(lake: Lake, record: RunRecord) -> None:
    """Write or replace the record."""
    with lake.writing(), replacing(_folder(lake) / f"{record.run_id}.json") as draft:
        draft.write_text(record.model_dump_json(indent=1))


def keep_sources(lake: Lake, item_ids: Iterable[str]) -> str:
    """Keep the ids of the clips that a run found; the name to read them by."""
    ids = sorted(item_ids)
    name = content_id("sources", "\n".join(ids))
    path = _folder(lake) / "sources" / f"{name}.parquet"
    if not path.exists():
        with lake.writing(), replacing(path) as draft:
            pq.write_table(pa.table({"item_id": pa.array(ids, pa.string())}), draft)
    return name


def read_sources(lake: Lake, record: RunRecord) -> list[str]:
    """Item ids of the clips that a run found."""
    if isinstance(record.sources, list):
        return record.sources
    with (_folder(lake) / "sources" / f"{record.sources}.parquet").open("rb") as file:
        return pq.read_table(file)["item_id"].to_pylist()


def latest_run(lake: Lake, dataset: str | None = None) -> RunRecord:
    """The newest record, of one data set or of any. Others are not read: a lake gathers thousands.

    Raises:
        UserError: there is none.
    """
    run = latest_run_or_none(lake, dataset)
    if run is None:
        wanted = f"of '{dataset}' " if dataset else ""
        raise UserError(
            f"No curation run {wanted}is recorded in {lake.root}: run `harp curate` with this lake first."
        )
    return run


def latest_run_or_none(lake: Lake, dataset: str | None = None) -> RunRecord | None:
    """Like `latest_run`, where it is no error that there is none."""
    found = [path for path in _records(lake) if dataset in (None, _dataset_of(path))]
    if not found:
        return None
    newest = max(found, key=lambda path: path.stem.rsplit("-", 2)[1:])
    return RunRecord.model_validate_json(newest.read_text())


def datasets_of(lake: Lake) -> list[str]:
    """Data sets that some run was of, by name."""
    return sorted({_dataset_of(path) for path in _records(lake)})


def _records(lake: Lake) -> list[Path]:
    return [path for path in _folder(lake).glob("*.json") if path.stem.count("-") >= 2]


def _dataset_of(path: Path) -> str:
    """As `new_run_id` wrote it."""
    return path.stem.rsplit("-", 2)[0]


def _folder(lake: Lake) -> Path:
    return lake.folder / "runs"
