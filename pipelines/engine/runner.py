"""Runs one stage over items: plans what is left to do, has it done, commits as it goes.

An item is left to do if it has no row under the stage's key and the ledger does not say that it was filtered
or is broken for good. A kill at any moment loses the micro-batch that was not yet committed and nothing else.
"""

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing

import pyarrow as pa
import pyarrow.compute as pc

from data_schemas.ledger import LedgerEntry
from pipelines.engine import ledger
from pipelines.engine.commits import CommitEvery, MicroBatches, Settle
from pipelines.engine.executor import Executor, Limits
from pipelines.engine.insertion import Insertion
from pipelines.engine.lake import Lake
from pipelines.engine.stage import Item, Stage
from pipelines.engine.summary import StageFailed, StageSummary
from pipelines.engine.work import Todo, Work

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the number of items finished in this run and of those that this run has to do: once with 0, as it begins."""


def run_stage(
    stage: Stage,
    items: Work | Sequence[Item],
    lake: Lake,
    executor: Executor,
    upstream: Sequence[str] = (),
    *,
    max_failed_fraction: float = 1.0,
    limits: Limits | None = None,
    progress: Progress | None = None,
    commit_every: CommitEvery | None = None,
    run_id: str | None = None,
    settle: Settle | None = None,
    max_exceptions: int | None = None,
) -> StageSummary:
    """Bring the stage's table up to date with the items.

    Args:
        items: with their payloads, or with what loads them; an id that comes twice is processed once.
        upstream: keys of the stages whose rows the items were made from.
        max_failed_fraction: of all items; earlier failures that still stand count.
        run_id: joins the ledger entries of all stages of one run; a new one by default.
        settle: sees the rows before they are committed, in this process.
        max_exceptions: runs after which an item that raises in each is in quarantine; None: it is always tried again, as
            where nobody could requeue it.

    Raises:
        StageFailed: after everything else was committed.
        Exception: whatever the stage's `setup` raises.
    """
    start = time.monotonic()
    key = stage.key(upstream)
    work = items if isinstance(items, Work) else Work.of(items)
    insertion = Insertion(lake, stage.row, key)
    wanted = pa.array(list(work.labels), pa.string())
    missing = dict.fromkeys(_without(wanted, insertion.id_column))
    setbacks = {i: entry for i, entry in ledger.setbacks(lake, key).items() if i in missing}
    left = [i for i in missing if i not in setbacks or setbacks[i].retryable]

    batches = MicroBatches(
        lake=lake,
        stage=stage,
        key=key,
        insertion=insertion,
        run_id=run_id or uuid.uuid4().hex,
        commit_every=commit_every or CommitEvery(),
        setbacks=setbacks,
        settle=settle,
        max_exceptions=max_exceptions,
    )
    lost = [i for i in _without(wanted, ledger.done_ids(lake, key)) if i not in missing]
    batches.record_lost({i: work.labels[i] for i in sorted(lost)})
    if left:
        todo = Todo(work, left, insertion.ids)
        _process(stage, todo, executor, batches, limits, progress, insertion)
        missing = dict.fromkeys(_without(wanted, insertion.id_column))
        for item_id in setbacks.keys() - missing.keys():  # another run succeeded where this one did not
            del setbacks[item_id]

    summary = StageSummary(
        stage=stage.name,
        key=key,
        total=len(work.labels),
        processed=batches.num_finished,
        already_done=len(wanted) - len(missing) - batches.num_done,
        done=batches.num_done,
        filtered=batches.reasons("filtered"),
        failed=batches.reasons("failed"),
        seconds=time.monotonic() - start,
        failures=_failures(setbacks),
    )
    logger.info("%s", summary)
    if len(summary.failures) > max_failed_fraction * summary.total:
        raise StageFailed(summary, max_failed_fraction)
    return summary


def _process(
    stage: Stage,
    todo: Todo,
    executor: Executor,
    batches: MicroBatches,
    limits: Limits | None,
    progress: Progress | None,
    insertion: Insertion,
) -> None:
    report = progress or (lambda finished, total: None)
    report(0, len(todo))
    with closing(executor.run(stage, todo, limits)) as attempts:
        try:
            for attempt in attempts:
                if attempt is not None:
                    batches.add(attempt)
                batches.commit_if_due()
                if insertion.has_company:
                    todo.share()
                if attempt is not None and attempt.final:
                    report(batches.num_finished, len(todo))
        finally:
            batches.commit()


def _without(ids: pa.Array, known: pa.ChunkedArray) -> list[str]:
    """The ids that are not known, in their order. In Arrow, since mostly they are few of many."""
    is_known = pc.is_in(ids, known)
    return ids.filter(pc.invert(is_known)).to_pylist()


def _failures(setbacks: dict[str, LedgerEntry]) -> list[LedgerEntry]:
    return sorted((e for e in setbacks.values() if e.outcome == "failed"), key=lambda e: e.label)
