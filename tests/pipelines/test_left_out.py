"""What a run says of what it left out: of its own clips, named by the clip that stands for them."""

import pytest

from benchmarks.engine.noop import REJECTED_ONE_OF, make_lake, make_raw, verdict
from data_schemas.ledger import LedgerEntry
from data_schemas.pairs import Verdict
from pipelines.curate import Curation
from pipelines.engine import ledger
from pipelines.engine.executors import LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.left_out import Rejection, problems, rejections
from pipelines.recipe import load_curate_recipe
from pipelines.runs import RunRecord, StageRecord, keep_sources

NUM_PAIRS = 4


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, RunRecord, Curation]:
    raw, root = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("lake")
    make_raw(raw, 2 * NUM_PAIRS)
    make_lake(raw, root)
    lake = Lake(root)
    curation = Curation(load_curate_recipe("clips"), raw, lake, LocalExecutor())
    curation.ingest()
    for name, key in curation.keys.items():
        counts = {"total": 0, "processed": 0, "already_done": 0, "done": 0, "filtered": {}, "failed": {}}
        curation.record.end(StageRecord(name=name, key=key, seconds=0.0, **counts))
    curation.record.sources = keep_sources(lake, [o.item_id for o in curation.view.outlines.values()])
    return lake, curation.record, curation


def test_rejected_subjects_are_named_with_reason_and_clip(
    curated: tuple[Lake, RunRecord, Curation],
) -> None:
    lake, record, curation = curated
    assert NUM_PAIRS < REJECTED_ONE_OF  # so that the first pair by id is the only one
    first = min(curation.view.pairs)
    robot = curation.view.pairs[first].robot.source
    assert rejections(lake, record) == [Rejection(first, "pair", ["static_clip"], robot)]
    accepted = {subject.subject_id for subject in curation.accepted()}
    assert accepted == set(curation.view.pairs) - {first}


def test_verdicts_on_clips_of_other_runs_are_not_shown(curated: tuple[Lake, RunRecord, Curation]) -> None:
    lake, record, _ = curated
    before = rejections(lake, record)
    lake.append(Verdict, record.stage_keys["verdicts"], [("ff", verdict("ff", accepted=False))])
    assert rejections(lake, record) == before


def test_failures_of_clips_that_are_gone_are_not_shown(curated: tuple[Lake, RunRecord, Curation]) -> None:
    lake, record, curation = curated
    own = {
        "wrist_tracks": min(curation.view.outlines),
        "alignments": min(curation.view.pairs),
        "verdicts": min(curation.view.subjects),
    }
    failed = record.model_copy(
        update={
            "stages": [stage.model_copy(update={"key": f"{stage.name}@failing"}) for stage in record.stages]
        }
    )
    for stage, item_id in own.items():
        key = failed.stage_keys[stage]
        ledger.record(lake, key, [failure(stage, key, item_id), failure(stage, key, "gone")])
    assert {e.stage: e.item_id for e in problems(lake, failed, curation.view)} == own


def failure(stage: str, key: str, item_id: str) -> LedgerEntry:
    return LedgerEntry(
        item_id,
        item_id,
        stage,
        key,
        "run",
        1,
        "failed",
        "broken",
        "",
        False,
        "worker",
        1.0,
        1.0,
        ledger.now(),
    )
