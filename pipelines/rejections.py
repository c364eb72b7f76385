"""What the verdicts of a run reject, by a few columns: after a run that found nothing to do, nobody waits for the tracks of
200,000 demonstrations to be read.
"""

from dataclasses import dataclass

from data_schemas.pairs import Verdict
from data_schemas.storage import location
from pipelines.engine.lake import Lake
from pipelines.outlines import RunView
from pipelines.runs import RunRecord, read_sources


@dataclass(frozen=True)
class Rejection:
    """A subject that may not be published."""

    subject_id: str
    kind: str
    """`pair`, `human` or `robot`."""
    reasons: list[str]
    source: str
    """The clip that stands for it: a pair's robot half, or the single one."""


def rejections(lake: Lake, run: RunRecord, view: RunView | None = None) -> list[Rejection]:
    """Of the run's own subjects, by kind and id; the lake may hold verdicts on others.

    Args:
        view: of the run, where it is at hand.
    """
    keys = run.stage_keys
    if "verdicts" not in keys:
        return []
    columns = ["item_id", "kind", "reasons"]
    rejected = lake.table(Verdict, keys["verdicts"], columns, [("accepted", "=", False)]).to_pylist()
    if not rejected:
        return []
    view = view or RunView(lake, location(run.raw_root), keys, lambda: read_sources(lake, run))
    subjects = view.subjects
    found = [
        Rejection(i, verdict["kind"], verdict["reasons"], subjects[i].reference.source)
        for verdict in rejected
        if (i := verdict["item_id"]) in subjects
    ]
    return sorted(found, key=lambda r: (r.kind, r.subject_id))
