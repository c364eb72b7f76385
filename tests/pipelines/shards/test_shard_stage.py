"""The stage on broken subjects, and on Ray."""

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest

from pipelines.engine.executors import LocalExecutor
from pipelines.engine.lake import Lake
from pipelines.engine.runner import run_stage
from pipelines.engine.stage import Item
from pipelines.shards.stage import ShardConfig, ShardStage, Subject, shard_items
from tests.pipelines.shards.conftest import NUM_KEYPOINTS

CONFIG = ShardConfig(held_out_fraction=0.0, subjects_per_shard=1, num_keypoints=NUM_KEYPOINTS)


def failures(subjects: list[Subject], root: Path) -> dict[str, str]:
    """Reason -> detail of the failed shards."""
    lake = Lake(root)
    summary = run_stage(ShardStage(CONFIG, lake.root), shard_items(subjects, CONFIG), lake, LocalExecutor())
    return {entry.reason: entry.detail for entry in summary.failures}


def test_a_broken_subject_is_named_and_leaves_no_files(subjects: list[Subject], tmp_path: Path) -> None:
    pair = subjects[2]
    assert pair.alignment is not None
    short = dataclasses.replace(pair.alignment, human_index=np.arange(5))
    failed = failures([dataclasses.replace(pair, alignment=short)], tmp_path)
    assert failed == {"track_length": f"{pair.reference.source}: alignment of 5 frames, robot video of 12"}
    assert not [p for p in (tmp_path / "shards").rglob("*") if p.is_file()]


def test_a_pair_without_alignment_is_refused(subjects: list[Subject], tmp_path: Path) -> None:
    assert failures([dataclasses.replace(subjects[2], alignment=None)], tmp_path).keys() == {"no_alignment"}


def test_a_video_that_vanished_fails_its_shard_alone(subjects: list[Subject], tmp_path: Path) -> None:
    human = subjects[3].human
    assert human is not None
    gone = dataclasses.replace(
        human, demonstration=dataclasses.replace(human.demonstration, video_path="gone.mp4")
    )
    broken = dataclasses.replace(subjects[3], subject_id="0" * 16, human=gone)
    failed = failures([broken, subjects[3], subjects[4]], tmp_path)
    assert failed.keys() == {"missing_file"}
    assert len(list((tmp_path / "shards").rglob("*.tar"))) == 2


def test_a_subject_that_raises_anything_is_named(
    subjects: list[Subject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else all subjects of its shard would be gone with it."""
    together = CONFIG.model_copy(update={"subjects_per_shard": 16})
    others = [dataclasses.replace(subjects[3], subject_id=f"{number:016x}") for number in range(4)]
    (item,) = shard_items(others, together)
    segments = ShardStage._segments

    def fail_at_one(stage: ShardStage, subject: Subject, split: str):
        if subject.subject_id == others[2].subject_id:
            raise ValueError("nobody has thought of that")
        return segments(stage, subject, split)

    monkeypatch.setattr(ShardStage, "_segments", fail_at_one)
    summary = run_stage(ShardStage(together, tmp_path), [item], Lake(tmp_path), LocalExecutor())
    (entry,) = summary.failures
    assert (entry.reason, entry.part, entry.retryable) == ("exception", others[2].subject_id, True)
    assert entry.detail == f"{subjects[3].reference.source}: ValueError: nobody has thought of that"
    assert "fail_at_one" in entry.traceback


def test_a_relative_root_means_the_same_in_another_folder(
    subjects: list[Subject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in that of a worker that has joined a cluster."""
    driver, node = tmp_path / "driver", tmp_path / "node"
    for folder in (driver, node):
        folder.mkdir()
    monkeypatch.chdir(driver)
    sent = pickle.dumps(ShardStage(CONFIG, Lake("lake").root))
    monkeypatch.chdir(node)
    (item,) = shard_items([subjects[3]], CONFIG)
    (done,) = pickle.loads(sent).process([item.payload])
    assert (driver / "lake" / done.row.path).is_file()
    assert not list(node.iterdir())


def test_a_key_that_would_leave_the_archive_is_refused(subjects: list[Subject], tmp_path: Path) -> None:
    (item,) = shard_items([dataclasses.replace(subjects[3], subject_id="../../evil")], CONFIG)
    summary = run_stage(
        ShardStage(CONFIG, tmp_path), [Item("x", "x", item.payload)], Lake(tmp_path), LocalExecutor()
    )
    assert "cannot name a file" in summary.failures[0].detail


@pytest.mark.parametrize("kind", ["human", "robot"])
def test_singles_have_one_side(subjects: list[Subject], kind: str) -> None:
    (subject,) = [s for s in subjects if s.kind == kind]
    (item,) = shard_items([subject], CONFIG)
    assert item.payload.split == "train"
    assert [d.embodiment for d in subject.demonstrations] == [kind]
