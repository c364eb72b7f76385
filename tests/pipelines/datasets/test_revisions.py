"""A video beside which something was mended is computed anew under an id of its own; one that was moved is not."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from data_schemas.cues import WristTrack
from data_schemas.demonstrations import Demonstration
from data_schemas.identity import demonstration_id, file_sha256
from data_schemas.ledger import LedgerEntry
from data_schemas.row import Row
from pipelines.curate import Curation
from pipelines.engine.executor import LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.recipe import load_curate_recipe
from tests.pipelines.datasets.made_rh20t import write_video


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    for seed, name in enumerate(("human.mp4", "robot.mp4", "single.mp4")):
        write_video(folder / name, frames=4, seed=seed)
    table(folder)
    return folder


def table(folder: Path, pair: str = "push", license_name: str = "MIT", below: str = "") -> None:
    lines = (f"p,{below}human.mp4,{below}robot.mp4,{pair},{license_name}", ",single.mp4,,wave,MIT")
    (folder / "pairs.csv").write_text("\n".join(["pair_id,human,robot,instruction,license", *lines]) + "\n")


def ids(raw: Path) -> Mapping[str, str]:
    """Ingest what is new; the items of the next stage, by source."""
    curation = Curation(load_curate_recipe("clips"), raw, Lake(raw.parent / "lake"), LocalExecutor())
    curation.ingest()
    labels = curation.work("wrist_tracks").labels
    rows = curation.view.videos(list(labels))
    assert {i: row.demonstration.demonstration_id for i, row in rows.items()} == {i: i for i in labels}
    return {source: i for i, source in labels.items()}


def test_what_is_mended_is_computed_anew_and_what_is_taken_back_is_found_again(raw: Path) -> None:
    first = ids(raw)
    assert first["human.mp4"] == demonstration_id("clips", file_sha256(raw / "human.mp4"), "main")
    table(raw, pair="push it")
    mended = ids(raw)
    assert {source for source in first if first[source] != mended[source]} == {"human.mp4", "robot.mp4"}
    assert ids(raw) == mended
    table(raw, pair="push it", license_name="CC0-1.0")
    again = ids(raw)
    assert len({first["human.mp4"], mended["human.mp4"], again["human.mp4"]}) == 3
    os.utime(raw / "robot.mp4", ns=(1, 1))
    assert ids(raw) == again
    table(raw)
    assert ids(raw) == first


def test_files_that_are_touched_copied_or_moved_are_the_demonstrations_they_were(raw: Path) -> None:
    first = ids(raw)
    os.utime(raw / "human.mp4", ns=(1, 1))
    assert ids(raw) == first
    (raw / "deep").mkdir()
    for video in ("human.mp4", "robot.mp4"):
        (raw / video).rename(raw / "deep" / video)
    table(raw, below="deep/")
    moved = ids(raw)
    assert {source.removeprefix("deep/"): i for source, i in moved.items()} == first


def test_rows_without_a_revision_count_as_saying_the_same(raw: Path) -> None:
    first = ids(raw)
    lake = Lake(raw.parent / "lake")
    curation = Curation(load_curate_recipe("clips"), raw, lake, LocalExecutor())
    rows = lake.read(Demonstration, curation.keys["ingest"])
    assert all(row.revision for row in rows.values())
    older = Lake(raw.parent / "older")
    for item_id, row in rows.items():
        older.append(Demonstration, curation.keys["ingest"], [(item_id, replace(row, revision=None))])
    (raw.parent / "lake").rename(raw.parent / "put_aside")
    (raw.parent / "older").rename(raw.parent / "lake")
    table(raw, pair="push it")
    assert ids(raw) == first


def copies(folder: Path, *lines: str) -> None:
    """A table of the pair `p` and these, in which `copy.mp4` is the robot's video and `other.mp4` one of its own."""
    shutil.copy(folder / "robot.mp4", folder / "copy.mp4")
    write_video(folder / "other.mp4", frames=4, seed=9)
    text = ["pair_id,human,robot,instruction", "p,human.mp4,robot.mp4,push", *lines]
    (folder / "pairs.csv").write_text("\n".join(text) + "\n")


def curation_of(raw: Path, lake: str = "lake") -> Curation:
    curation = Curation(load_curate_recipe("clips"), raw, Lake(raw.parent / lake), LocalExecutor())
    curation.ingest()
    return curation


def rows_of(curation: Curation) -> Mapping[str, Demonstration]:
    """Rows of all clips, copies too, by item id."""
    return curation.lake.read(Demonstration, curation.keys["ingest"])


@pytest.mark.parametrize("lost", [LedgerEntry, WristTrack])
@pytest.mark.parametrize("name", ["a", "z"])
def test_a_copy_under_another_pair_takes_nothing_over(raw: Path, name: str, lost: type[Row]) -> None:
    copies(raw)
    first = curation_of(raw)
    first.find_wrists()
    # As after a kill between rows and their ledger entries, or where a wrist could not be looked for.
    delta = first.lake.existing(lost)
    assert delta is not None
    delta.delete()
    copies(raw, f"{name},other.mp4,copy.mp4,pour")
    second = curation_of(raw)
    assert first.view.outlines.items() <= second.view.outlines.items()
    assert {pair.robot.pair_key for pair in second.view.pairing.pairs} == {"p", name}
    assert not second.view.pairing.missing_half
    (new,) = [o for o in second.view.outlines.values() if o.source == "copy.mp4"]
    assert new.demonstration_id in second.work("wrist_tracks").labels.keys() - first.view.outlines.keys()


def test_copies_that_are_new_at_the_same_time_are_one_demonstration(raw: Path) -> None:
    copies(raw, "a,other.mp4,copy.mp4,pour")
    rows = rows_of(curation_of(raw))
    assert len({row.demonstration_id for row in rows.values()}) == 3
    assert len(rows) == 4


@pytest.mark.parametrize("worked_before", [False, True])
def test_a_run_that_continues_after_a_kill_gives_the_ids_of_one_that_was_never_killed(
    raw: Path, worked_before: bool
) -> None:
    base = raw.parent / "base"
    if worked_before:
        copies(raw)
        curation_of(raw, "base").find_wrists()
    shutil.copy(raw / "robot.mp4", raw / "third.mp4")
    copies(raw, "a,other.mp4,copy.mp4,pour", "z,,third.mp4,stir", ",human.mp4,,wave")
    shutil.copytree(base, raw.parent / "lake") if base.exists() else None
    undisturbed = curation_of(raw)
    expected = {i: row.demonstration_id for i, row in rows_of(undisturbed).items()}
    key = undisturbed.keys["ingest"]
    before = Lake(base).ids(Demonstration, key)
    for number, item_id in enumerate(sorted(expected.keys() - before)):
        name = f"killed{number}"
        shutil.copytree(base, raw.parent / name) if base.exists() else None
        row = rows_of(undisturbed)[item_id]
        Lake(raw.parent / name).append(Demonstration, key, [(item_id, row)])
        continued = rows_of(curation_of(raw, name))
        assert {i: row.demonstration_id for i, row in continued.items()} == expected
