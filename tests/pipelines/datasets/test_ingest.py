"""The ingest stage: outcomes with names, ids that follow the files, and keys that follow the options."""

import hashlib
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from data_schemas.demonstrations import Demonstration
from data_schemas.errors import UserError
from pipelines.datasets import get_reader
from pipelines.datasets.ingest import IngestConfig, IngestStage, source_work
from pipelines.engine.stage import Done, Failed, Filtered, Item
from pipelines.inputs import VideoInput
from pipelines.video import open_demonstration, open_video, pyav_reader
from tests.pipelines.datasets.made_rh20t import (
    SERIAL,
    scene_name,
    write_human_scene,
    write_robot_scene,
    write_tree,
    write_video,
)


def items(root: Path) -> list[Item]:
    work = source_work(IngestConfig(name="rh20t").make_reader().discover(root), root)
    return [Item(i, work.labels[i], payload) for i, payload in work.load(list(work.labels)).items()]


def test_every_outcome_has_its_name(tmp_path: Path) -> None:
    write_robot_scene(tmp_path, scene_name(task=1))
    write_robot_scene(tmp_path, scene_name(task=2), rating=0)
    broken = write_human_scene(tmp_path, scene_name(task=3, human=True)) / f"cam_{SERIAL}" / "color.mp4"
    broken.write_bytes(broken.read_bytes()[:-200])
    found = items(tmp_path)
    done, filtered, failed = IngestStage(IngestConfig(name="rh20t")).process([item.payload for item in found])
    assert isinstance(done, Done)
    assert isinstance(done.row, Demonstration)
    assert isinstance(filtered, Filtered)
    assert filtered.reason == "low_rating"
    assert isinstance(failed, Failed)
    assert (failed.reason, failed.retryable) == ("truncated_video", False)
    assert found[0].label == f"{scene_name(task=1)} [{SERIAL}]"


def test_items_follow_the_files(tmp_path: Path) -> None:
    root = write_tree(tmp_path)
    before = [item.item_id for item in items(root)]
    assert before == [item.item_id for item in items(root)]
    assert len(set(before)) == 2
    video = root / "RH20T_cfg3" / scene_name() / f"cam_{SERIAL}" / "color.mp4"
    write_video(video, frames=13)
    replaced = [item.item_id for item in items(root)]
    assert [a == b for a, b in zip(before, replaced, strict=True)] == [False, True]
    os.utime(root / "RH20T_cfg3" / scene_name(human=True) / "metadata.json", ns=(1, 1))
    assert items(root)[1].item_id != replaced[1]
    touched = [item.item_id for item in items(root)]
    (intrinsics,) = root.glob("RH20T_cfg3/calib/*/intrinsics.npy")
    os.utime(intrinsics, ns=(1, 1))
    calibrated = [item.item_id for item in items(root)]
    assert [a == b for a, b in zip(touched, calibrated, strict=True)] == [False, True], "it is the robot's"
    pickle.loads(pickle.dumps(items(root)[0]))


def plain_id(*parts: str) -> str:
    framed = b"".join(len(part.encode()).to_bytes(8, "little") + part.encode() for part in parts)
    return hashlib.blake2b(framed, digest_size=8).hexdigest()


def plain_state(path: Path) -> str:
    """Of a file its size and time, of a folder those of all files in it."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return plain_id("folder", *(f"{file.relative_to(path)}:{plain_state(file)}" for file in files))
    return f"{path.stat().st_size}:{path.stat().st_mtime_ns}"


def test_ids_are_those_of_the_plain_definition(tmp_path: Path) -> None:
    root = write_tree(tmp_path)
    for item in items(root):
        clip, _ = item.payload
        states = []
        for name in clip.hints["watch"]:
            path = root / name
            state = plain_state(path) if path.exists() else "absent"
            states.append(f"{name}:{state}")
        hints = json.dumps(clip.hints, sort_keys=True)
        parts = ("source", clip.dataset, clip.source, clip.camera, clip.pair_key or "", hints, *states)
        assert item.item_id == plain_id(*parts)


def test_a_mended_instruction_is_read_anew(tmp_path: Path) -> None:
    root = write_tree(tmp_path)
    before = [item.item_id for item in items(root)]
    (root / "task_description.json").write_text('{"task_0001": {"task_description_english": "Push it"}}')
    assert not set(before) & {item.item_id for item in items(root)}


def test_the_stage_key_follows_the_options() -> None:
    def key(**config) -> str:
        return IngestStage(IngestConfig(**config)).key([])

    assert key(name="rh20t") == key(name="rh20t", dataset="rh20t", options={"min_rating": 2})
    assert key(name="rh20t") != key(name="rh20t", options={"min_rating": 3})
    assert key(name="rh20t") != key(name="rh20t", dataset="tabletop")


def test_a_row_opens_its_video_without_indexing_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree(tmp_path)
    (item, _) = items(root)
    (done,) = IngestStage(IngestConfig(name="rh20t")).process([item.payload])
    assert isinstance(done, Done)
    row = Demonstration.from_record(done.row.to_record())
    with open_video(root / row.video_path) as reader:
        expected, seconds = reader.frames(range(row.num_frames)), reader.timestamps
    monkeypatch.setattr(pyav_reader, "index_video", None)
    with open_demonstration(VideoInput(row, root)) as reader:
        np.testing.assert_array_equal(reader.frames(range(row.num_frames)), expected)
        np.testing.assert_allclose(reader.timestamps, seconds)


def test_unknown_readers_and_options() -> None:
    with pytest.raises(UserError, match="no reader 'hdf5': choose one of clips, rh20t"):
        get_reader("hdf5", {})
    with pytest.raises(UserError, match=r"Option 'min_ratting' of the rh20t reader.*min_rating"):
        get_reader("rh20t", {"min_ratting": 3})
    with pytest.raises(UserError, match="Option 'min_rating'"):
        IngestConfig(name="rh20t", options={"min_rating": "high"})
    with pytest.raises(ValidationError):
        IngestConfig.model_validate({"name": "rh20t", "worker": 3})
