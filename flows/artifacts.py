"""What a run leaves in the Prefect UI: progress while it goes on, then a table of counts and a page with pictures.

All of it is for show: a server that does not take it spoils no work that is done.
"""

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.exceptions import PrefectException

from pipelines.curate import Curation, Progress
from pipelines.quality.report.digest import digest
from pipelines.runs import RunRecord

UPDATE_SECONDS = 10.0
"""Each is a request, which the server's database has to take while the stages want the cores."""
SILENT_SECONDS = 120.0
"""After the server did not answer, which it may take a minute not to do."""

logger = logging.getLogger(__name__)


@contextmanager
def tolerated(what: str) -> Generator[None]:
    """A server that is busy or away makes a warning of an artifact, not a failure of the run."""
    try:
        yield
    except (httpx.HTTPError, PrefectException) as error:
        logger.warning("The server does not take %s: %r", what, error)


class StageProgress:
    """Forwards progress to the terminal and, now and then, to a progress artifact of each stage.

    A server that is busy or away does not stop the work: its page is then behind for a while.
    """

    def __init__(self, bars: Progress, dataset: str) -> None:
        self._bars, self._dataset = bars, dataset
        self._shown: dict[str, tuple[UUID, float]] = {}
        self._silent_until = 0.0

    def __call__(self, stage: str, finished: int, total: int) -> None:
        self._bars(stage, finished, total)
        if time.monotonic() < self._silent_until:
            return
        self._silent_until = time.monotonic() + SILENT_SECONDS
        with tolerated(f"the progress of {stage}"):
            self._show(stage, finished, total)
            self._silent_until = 0.0

    def _show(self, stage: str, finished: int, total: int) -> None:
        share = 100.0 * finished / total if total else 100.0
        if stage not in self._shown:
            key = artifact_key(self._dataset, stage)
            artifact = create_progress_artifact(progress=share, key=key, description=f"{total} items")
            assert isinstance(artifact, UUID), "called from a coroutine"
        else:
            artifact, last = self._shown[stage]
            if finished < total and time.monotonic() - last < UPDATE_SECONDS:
                return
            update_progress_artifact(artifact_id=artifact, progress=share)
        self._shown[stage] = (artifact, time.monotonic())


def counts_table(record: RunRecord) -> None:
    """One row per stage: how many items, and what became of them."""
    rows = [
        {
            "stage": stage.name,
            "items": stage.total,
            "already done": stage.already_done,
            "done": stage.done,
            "filtered": ", ".join(f"{reason} {number}" for reason, number in stage.filtered.items()),
            "failed": ", ".join(f"{reason} {number}" for reason, number in stage.failed.items()),
            "seconds": round(stage.seconds, 1),
        }
        for stage in record.stages
    ]
    description = f"version {record.version_id}" + ("" if record.version_is_new else " (unchanged)")
    if record.reverted is not None:
        description += f". **Warning:** {record.reverted}"
    with tolerated("the table of counts"):
        create_table_artifact(rows, key=artifact_key(record.dataset, "counts"), description=description)


def digest_page(curation: Curation) -> None:
    """Verdicts and a contact sheet of some pairs."""
    record = curation.record
    page = digest(curation.lake, record, curation.view)
    with tolerated("the page with pictures"):
        create_markdown_artifact(page, key=artifact_key(record.dataset, "digest"))


def artifact_key(dataset: str, name: str) -> str:
    """Prefect takes lower-case letters, digits and dashes."""
    return f"{dataset}-{name}".replace("_", "-").lower()
