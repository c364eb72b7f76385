"""What a run leaves out: items that were filtered or failed, and subjects that the verdicts reject. All by a few columns:
after a run that found nothing to do, nobody waits for the tracks of 200,000 demonstrations to be read.
"""

from collections.abc import Collection
from dataclasses import dataclass

from data_schemas.ledger import LedgerEntry
from data_schemas.pairs import Verdict
from pipelines.engine.lake import Lake
from pipelines.engine.ledger import unsolved
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
    subjects = (view or RunView.of(lake, run)).subjects
    found = [
        Rejection(i, verdict["kind"], verdict["reasons"], subjects[i].reference.source)
        for verdict in rejected
        if (i := verdict["item_id"]) in subjects
    ]
    return sorted(found, key=lambda r: (r.kind, r.subject_id))


def problems(lake: Lake, run: RunRecord, view: RunView | None = None) -> list[LedgerEntry]:
    """What is filtered or failed under the run's keys: failures first, then by stage and item.

    The lake may hold entries on clips that the run did not find, as a video that was replaced since has another id:
    these are left out. Of shards it is those that failed for a subject which the run had nothing to do with.

    Args:
        view: of the run, where it is at hand.
    """
    view = view or RunView.of(lake, run)
    entries: list[LedgerEntry] = []
    for stage, key in run.all_keys.items():
        found = unsolved(lake, key)
        if not found:
            continue
        if stage == "shards":
            # A subject may have broken several shards, before and after others joined it: the last one speaks.
            last = {e.part or e.item_id: e for e in sorted(found.values(), key=lambda e: e.finished_at)}
            is_over = stage in run.stage_keys  # before that, nobody knows who is left out
            entries += [e for e in last.values() if not (e.part and is_over) or e.part in run.left_out]
        else:
            own = _items(lake, run, stage, view)
            entries += [entry for item_id, entry in found.items() if item_id in own]
    entries = [entry for entry in entries if entry.outcome != "requeued"]
    return sorted(entries, key=lambda e: (e.outcome != "failed", e.stage, e.label))


def quarantined(lake: Lake, run: RunRecord) -> list[LedgerEntry]:
    """`problems` that no later run tries again by itself."""
    return [entry for entry in problems(lake, run) if entry.in_quarantine]


def _items(lake: Lake, run: RunRecord, stage: str, view: RunView) -> Collection[str]:
    """Ids of the run's own items of a stage."""
    match stage:
        case "ingest":
            return set(read_sources(lake, run))
        case "alignments":
            return view.pairs
        case "verdicts":
            return view.subjects
    return view.outlines
