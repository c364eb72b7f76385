"""The stage on real video files: whose box is used, and what becomes of clips without an object."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from data_schemas.cues import ObjectTrack
from data_schemas.demonstrations import Demonstration
from data_schemas.errors import UserError
from pipelines.engine.stage import Done, Failed, Filtered
from pipelines.inputs import TrackInput
from pipelines.objects.base import ObjectDescriber
from pipelines.objects.config import ObjectConfig
from pipelines.objects.stage import ObjectStage
from pipelines.video import index_video
from tests.pipelines.objects.conftest import Clip


def write_video(path: Path, frames: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "16"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def payload(folder: Path, clip: Clip, seen: np.ndarray | None = None) -> TrackInput:
    write_video(folder / "clip.mp4", clip.frames)
    index = index_video(folder / "clip.mp4")
    none = np.zeros(0)
    row = Demonstration(
        demonstration_id="d", dataset="made", embodiment="robot", camera="c", source="clip", pair_key=None,
        task="", instruction="", license="", video_path="clip.mp4", source_sha256="", codec=index.codec,
        width=index.width, height=index.height, num_frames=len(clip.frames), fps=10.0,
        timestamps=np.arange(len(clip.frames)) / 10, pts=index.pts, keyframes=index.keyframes,
        intrinsics=none, effector_times=none, effector_poses=np.zeros((0, 7)), gripper_times=none,
        gripper_widths=none, object_box=np.zeros(0, np.float32), object_box_frame=0,
    )  # fmt: skip
    return TrackInput(row, folder, clip.wrist(seen))


def run(item: TrackInput, **config: object) -> Done | Filtered | Failed:
    return ObjectStage(ObjectConfig.model_validate(config)).process([item])[0]


def test_moved_object_is_tracked_to_its_new_place(tmp_path: Path, carried: Clip) -> None:
    outcome = run(payload(tmp_path, carried))
    assert isinstance(outcome, Done)
    row = outcome.row
    assert isinstance(row, ObjectTrack)
    assert row.points.shape == (len(carried.frames), 8, 2)
    assert row.box_source == "motion-grounding@4"
    assert row.source == "lucas-kanade@1"
    truth = carried.carried(row.points[row.box_frame].astype(float), row.box_frame)
    assert np.median(np.hypot(*(row.points[-1] - truth[-1]).T)) < 2
    back = ObjectTrack.from_record(row.to_record())
    assert np.array_equal(back.points, row.points)


def test_box_of_the_data_set_wins(tmp_path: Path, carried: Clip) -> None:
    item = payload(tmp_path, carried)
    box = np.array([99, 109, 123, 133], np.float32)
    item = replace(item, demonstration=replace(item.demonstration, object_box=box, object_box_frame=2))
    outcome = run(item, num_keypoints=5)
    assert isinstance(outcome, Done)
    row = outcome.row
    assert isinstance(row, ObjectTrack)
    assert row.box_source == "dataset"
    assert row.box_frame == 2
    assert np.array_equal(row.box, box)
    inside = (row.points[2] >= box[:2]) & (row.points[2] <= box[2:])
    assert inside.all()


def test_static_clip_is_filtered(tmp_path: Path, carried: Clip) -> None:
    still = replace(carried, frames=carried.frames[:1].repeat(20, axis=0), tips=carried.tips[:20])
    outcome = run(payload(tmp_path, still, np.zeros(20, bool)))
    assert isinstance(outcome, Filtered)
    assert outcome.reason == "no_object_found"


def test_missing_video_fails_under_its_reason(tmp_path: Path, carried: Clip) -> None:
    item = payload(tmp_path, carried)
    (tmp_path / "clip.mp4").unlink()
    outcome = run(item)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "missing_file"


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="lucas-kanade"):
        ObjectStage(ObjectConfig(tracker="deep-sort"))


def test_key_changes_with_the_number_of_keypoints() -> None:
    assert ObjectStage(ObjectConfig()).key([]) != ObjectStage(ObjectConfig(num_keypoints=16)).key([])


def test_pretrained_parts_are_chosen_by_recipe_and_named_in_the_key() -> None:
    default = ObjectStage(ObjectConfig())
    paper = ObjectStage(ObjectConfig(grounder="groundingdino", tracker="tapir", describer="openai"))
    assert default.models == ("motion-grounding@4", "lucas-kanade@1")
    assert paper.models == (
        "Qwen/Qwen3-VL-8B-Instruct@openai",
        "grounding-dino-tiny@a2bb814d+phrase-grounding@2",
        "bootstapir@8493c7a6",
    )
    assert default.key([]) != paper.key([])
    assert paper.batch_size > default.batch_size == 1


def test_the_phrase_comes_from_the_instruction_else_from_the_describer(tmp_path: Path, carried: Clip) -> None:
    class Says(ObjectDescriber):
        model, num_frames = "says@1", 3

        def load(self) -> None: ...

        def describe(self, clips: Sequence[np.ndarray]) -> list[str]:
            assert [clip.shape for clip in clips] == [(3, *carried.frames.shape[1:])]
            return ["striped block"]

    item = payload(tmp_path, carried)
    told = replace(item, demonstration=replace(item.demonstration, instruction="Pick up the green cup"))
    stage = ObjectStage(ObjectConfig())
    stage._describer = Says()
    rows = [outcome.row for outcome in stage.process([told, item]) if isinstance(outcome, Done)]
    phrases = [row.phrase for row in rows if isinstance(row, ObjectTrack)]
    assert phrases == ["green cup", "striped block"]
