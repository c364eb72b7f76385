"""Aligner and verdicts read tracks as motion against the scene; the curation follows cameras where they move."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from data_schemas.camera import CameraMotion
from data_schemas.demonstrations import Demonstration
from data_schemas.pairs import Alignment
from pipelines.alignment.cues import object_signal, wrist_signal
from pipelines.alignment.stage import AlignConfig, AlignStage
from pipelines.camera_motion.stage import CameraConfig, CameraStage
from pipelines.engine.stage import Done, Failed, Filtered
from pipelines.inputs import Annotated, PairInput, TrackInput, VerdictInput
from pipelines.quality.verdict import VerdictConfig, judge
from pipelines.recipe import load_curate_recipe
from pipelines.video import index_video
from tests.pipelines.alignment.made_pairs import annotated, demonstration, object_track, wrist_track

FRAMES = 40
WAY = np.column_stack([np.linspace(40, 180, FRAMES), 100 + 30 * np.sin(np.linspace(0, 3, FRAMES))])
"""A way through the scene."""
REST = np.full((FRAMES, 2), 112.0)


def camera(shift: np.ndarray, lost: slice = slice(0, 0)) -> CameraMotion:
    """A camera that looks at the scene from `shift` (T, 2) pixels further on."""
    transforms = np.tile(np.eye(3), (len(shift), 1, 1))
    transforms[:, :2, 2] = shift
    agreement = np.ones(len(shift), np.float32)
    agreement[lost] = 0
    return CameraMotion("id", "made", transforms, agreement)


def ego(in_picture: np.ndarray, shift: np.ndarray, embodiment: str = "human", lost: slice = slice(0, 0)):
    clip = annotated(embodiment, FRAMES, wrist_track(in_picture), object_track(in_picture))
    return replace(clip, camera=camera(shift, lost))


def test_a_hand_that_the_head_follows_moves_and_one_that_rests_does_not() -> None:
    followed, resting = ego(REST, WAY - WAY[0]), ego(REST - (WAY - WAY[0]), WAY - WAY[0])
    for read in (wrist_signal, object_signal):
        moving, still = read(followed), read(resting)
        assert moving is not None
        assert still is not None
        np.testing.assert_allclose(moving.values - moving.values[0], WAY - WAY[0], atol=1e-3)
        assert still.extent < 1e-6
    verdicts = [judge(VerdictInput("s", c, None, None, False), VerdictConfig()) for c in (followed, resting)]
    assert [verdict.reasons for verdict in verdicts] == [[], ["static_clip"]]
    metrics = dict(zip(verdicts[0].metric_names, verdicts[0].metric_values, strict=True))
    assert metrics["human_camera_known"] == 1.0
    assert metrics["human_camera_motion"] == pytest.approx(metrics["human_motion"], abs=1e-6)


def test_a_followed_hand_is_aligned_with_a_robot_before_a_fixed_camera() -> None:
    """In the picture her hand stays in the middle; the result is that of a camera that had not moved."""
    warp = np.linspace(0, 1, FRAMES) ** 1.5 * (FRAMES - 1)
    at = np.column_stack([np.interp(warp, np.arange(FRAMES), column) for column in WAY.T])
    robot = annotated("robot", FRAMES, wrist_track(WAY))
    pair = PairInput("p", ego(REST, at - at[0]), robot)
    still = PairInput("p", annotated("human", FRAMES, wrist_track(at - at[0] + REST)), robot)
    outcome, expected = AlignStage().process([pair, still])
    assert isinstance(outcome, Done)
    assert isinstance(expected, Done)
    assert isinstance(outcome.row, Alignment)
    assert isinstance(expected.row, Alignment)
    np.testing.assert_array_equal(outcome.row.human_index, expected.row.human_index)
    (blind,) = AlignStage(AlignConfig(cues=("wrist",))).process(
        [PairInput("p", replace(pair.human, camera=None), robot)]
    )
    assert isinstance(blind, Filtered), "in the picture the hand does not move"


def test_frames_whose_place_in_the_scene_is_unknown_do_not_count() -> None:
    clip = ego(REST, WAY - WAY[0], lost=slice(10, 32))
    signal = wrist_signal(clip)
    assert signal is not None
    np.testing.assert_array_equal(np.flatnonzero(~signal.usable), np.arange(10, 32))
    verdict = judge(VerdictInput("s", clip, None, None, False), VerdictConfig())
    assert verdict.reasons == ["camera_lost"]


def test_descriptions_of_whole_frames_are_not_used_under_a_moving_camera() -> None:
    human = replace(annotated("human", FRAMES), camera=camera(WAY - WAY[0]))
    assert AlignStage()._signal(human, "features") == "needs a camera that stands still"


@pytest.fixture
def panning(tmp_path: Path) -> Callable[..., TrackInput]:
    """A video of a camera that pans 5 pixels a frame over a textured wall."""
    noise = np.random.default_rng(0).uniform(0, 255, (30, 90, 3)).astype(np.uint8)
    wall = np.asarray(cv2.resize(noise, (720, 240), interpolation=cv2.INTER_CUBIC), np.uint8)
    path = tmp_path / "pan.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "15"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for t in range(20):
            frame = np.ascontiguousarray(wall[:, 5 * t : 5 * t + 320])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    index = index_video(path)
    row: Demonstration = demonstration(
        "human",
        20,
        video_path=path.name,
        width=320,
        height=240,
        timestamps=index.timestamps,
        pts=index.pts,
        keyframes=index.keyframes,
    )
    return lambda **changes: TrackInput(replace(row, **changes), tmp_path, wrist_track(np.zeros((20, 2))))


def test_the_stage_follows_a_panning_video(panning: Callable[..., TrackInput]) -> None:
    done, failed = CameraStage(CameraConfig(moving=("human",))).process(
        [panning(), panning(video_path="absent.mp4")]
    )
    assert isinstance(done, Done)
    assert isinstance(done.row, CameraMotion)
    np.testing.assert_allclose(done.row.transforms[:, 0, 2], 5 * np.arange(20), atol=0.5)
    assert isinstance(failed, Failed)
    assert failed.reason == "missing_file"


def test_recipes_say_whose_cameras_move() -> None:
    assert load_curate_recipe("tabletop").camera.moving == ()
    assert load_curate_recipe("tabletop", ["camera.moving=[human]"]).camera.moving == ("human",)


def test_a_still_camera_leaves_tracks_as_they_are() -> None:
    clip: Annotated = annotated("human", FRAMES, wrist_track(WAY))
    np.testing.assert_array_equal(clip.against_scene(WAY), WAY)
