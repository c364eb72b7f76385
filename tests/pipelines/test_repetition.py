"""A run that would repeat one which found nothing to do plans nothing; whatever its plans follow from makes it plan again."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pipelines.curate
import pipelines.repetition
from benchmarks.engine.noop import make_lake, make_raw, objects
from data_schemas.cues import ObjectTrack
from data_schemas.errors import UserError
from data_schemas.ledger import LedgerEntry
from data_schemas.versions import LATEST_SUFFIX
from pipelines.curate import UPSTREAM, Curation, curate
from pipelines.engine.executors import LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.engine.ledger import attempts_at, record
from pipelines.engine.runner import run_stage
from pipelines.engine.stage import Stage
from pipelines.engine.summary import StageFailed, StageSummary
from pipelines.recipe import load_curate_recipe
from pipelines.runs import RunRecord, latest_run

NUM_PAIRS = 4


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Curated, with a run after it that found nothing to do."""
    make_raw(tmp_path / "raw", 2 * NUM_PAIRS)
    make_lake(tmp_path / "raw", tmp_path / "lake")
    run(Lake(tmp_path / "lake"))
    return Lake(tmp_path / "lake")


def run(lake: Lake, *changes: str) -> RunRecord:
    curation = Curation(
        load_curate_recipe("clips", changes), Path(lake.root).parent / "raw", lake, LocalExecutor()
    )
    curate(curation)
    return curation.record


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stages that were planned and run."""
    names: list[str] = []

    def run_and_note(stage: Stage, *args: Any, **options: Any) -> StageSummary:
        names.append(stage.name)
        return run_stage(stage, *args, **options)

    monkeypatch.setattr(pipelines.curate, "run_stage", run_and_note)
    return names


def test_a_repeated_run_plans_nothing_and_ends_as_the_one_before(lake: Lake, ran: list[str]) -> None:
    latest = lake.folder / "versions" / f"clips{LATEST_SUFFIX}"
    first, pointed = latest_run(lake), latest.read_text()
    latest.unlink()
    again = run(lake)
    assert not ran
    assert again.run_id != first.run_id
    assert again.finished_at
    counts = [stage.model_dump(exclude={"seconds"}) for stage in again.stages]
    assert counts == [stage.model_dump(exclude={"seconds"}) for stage in first.stages]
    assert counts[0]["already_done"] == 2 * NUM_PAIRS
    assert again.version_id == first.version_id
    assert not again.version_is_new
    assert latest.read_text() == pointed


def test_the_first_run_with_nothing_to_do_is_planned(tmp_path: Path, ran: list[str]) -> None:
    make_raw(tmp_path / "raw", 2 * NUM_PAIRS)
    make_lake(tmp_path / "raw", tmp_path / "lake")
    assert run(Lake(tmp_path / "lake")).version_is_new
    assert ran == list(UPSTREAM)


def requeue(lake: Lake) -> None:
    key = Curation(load_curate_recipe("clips"), "raw", lake, LocalExecutor()).keys["wrist_tracks"]
    entry = attempts_at(lake, lake.columns(LedgerEntry, key, ["item_id"])[0][0])[0]
    record(lake, key, [replace(entry, outcome="requeued", retryable=True)])


def add_row(lake: Lake) -> None:
    key = Curation(load_curate_recipe("clips"), "raw", lake, LocalExecutor()).keys["object_tracks"]
    lake.append(ObjectTrack, key, [("ff", objects("ff"))])


def replace_video(lake: Lake) -> None:
    os.utime(next((lake.folder.parent / "raw").rglob("*.mp4")), ns=(1, 1))


def remove_version(lake: Lake) -> None:
    for manifest in lake.folder.glob("versions/*/manifest.json"):
        manifest.unlink()


def remove_pair(lake: Lake) -> None:
    table = lake.folder.parent / "raw" / "pairs.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")


@pytest.mark.parametrize("change", [requeue, add_row, replace_video, remove_pair, remove_version])
def test_what_plans_follow_from_makes_a_run_plan(
    lake: Lake, ran: list[str], change: Callable[[Lake], None]
) -> None:
    change(lake)
    with suppress(StageFailed):  # the made videos are empty
        run(lake)
    assert ran


def test_a_changed_setting_or_planner_makes_a_run_plan(
    lake: Lake, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(lake, "max_failed_fraction=1")
    assert ran
    for _ in range(2):
        run(lake)
    ran.clear()
    monkeypatch.setattr(pipelines.repetition, "_code", lambda: "another release")
    run(lake)
    assert ran


def test_a_run_after_one_that_worked_is_planned(lake: Lake, ran: list[str]) -> None:
    """What another run commits while one works is in the lake at its end, and not in its plans."""
    run(lake)
    assert not ran
    path = max((lake.folder / "runs").glob("clips-*.json"))
    values = json.loads(path.read_text())
    values["stages"][0]["processed"] = 1
    path.write_text(json.dumps(values))
    run(lake)
    assert ran


def test_missing_shards_are_found_by_a_repeated_run(lake: Lake) -> None:
    next(lake.folder.rglob("*.tar")).unlink()
    with pytest.raises(UserError, match=r"\.tar is missing: restore it"):
        run(lake)
