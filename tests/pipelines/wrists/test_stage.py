"""The wrist stage on videos and poses, sound and broken."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_schemas.cues import WristTrack
from data_schemas.demonstrations import Demonstration
from data_schemas.errors import UserError
from pipelines.engine.stage import Done, Failed
from pipelines.inputs import VideoInput
from pipelines.wrists.stage import WristConfig, WristStage
from simulation.recording import Clip


@pytest.fixture
def stage(hand_models: Path) -> Iterator[WristStage]:
    stage = WristStage(WristConfig())
    stage.setup()
    yield stage
    stage.teardown()


def test_one_outcome_per_payload_in_order(
    stage: WristStage,
    make_clip: Callable[[np.ndarray], VideoInput],
    make_demonstration: Callable[..., Demonstration],
    tabletop_clip: Clip,
) -> None:
    human = make_clip(tabletop_clip.frames)
    missing = VideoInput(replace(human.demonstration, video_path="absent.mp4"), human.raw_root)
    broken_path = human.raw_root / "broken.mp4"
    broken_path.write_bytes(human.video_path.read_bytes()[:400])
    broken = VideoInput(replace(human.demonstration, video_path="broken.mp4"), human.raw_root)
    robot = VideoInput(make_demonstration(), human.raw_root)

    outcomes = stage.process([missing, human, broken, robot])
    assert [type(outcome) for outcome in outcomes] == [Failed, Done, Failed, Done]
    assert isinstance(outcomes[0], Failed)
    assert outcomes[0].reason == "missing_file"
    assert outcomes[0].retryable, "the file may still arrive"

    assert isinstance(outcomes[1], Done)
    track = outcomes[1].row
    assert isinstance(track, WristTrack)
    assert track.source == stage.models[0]
    assert track.points.shape == (len(tabletop_clip.frames), 2)
    truth = tabletop_clip.truth
    error = np.linalg.norm(track.points - truth.wrist_pixels, axis=1)
    assert track.visible[truth.wrist_visible].mean() >= 0.9
    assert np.median(error[track.visible]) <= 0.04 * tabletop_clip.frames.shape[2]
    np.testing.assert_array_equal(track.visible, [flag == "found" for flag in track.flags])
    assert (track.visibility[~track.visible] == 0).all()

    assert isinstance(outcomes[3], Done)
    assert isinstance(outcomes[3].row, WristTrack)
    assert set(outcomes[3].row.flags) == {"no_pose"}


def test_rows_survive_their_table_record(
    stage: WristStage, make_clip: Callable[[np.ndarray], VideoInput], tabletop_clip: Clip
) -> None:
    (outcome,) = stage.process([make_clip(tabletop_clip.frames[:12])])
    assert isinstance(outcome, Done)
    row = outcome.row
    assert isinstance(row, WristTrack)
    again = WristTrack.from_record(row.to_record())
    np.testing.assert_array_equal(again.points, row.points)
    assert again.flags == row.flags


def test_a_video_without_hands_has_no_visible_point(
    stage: WristStage, make_clip: Callable[[np.ndarray], VideoInput]
) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (6, 120, 160, 3), np.uint8)
    (outcome,) = stage.process([make_clip(frames)])
    assert isinstance(outcome, Done)
    assert isinstance(outcome.row, WristTrack)
    assert outcome.row.flags == ["not_found"] * 6
    assert np.isnan(outcome.row.points).all()
    assert not outcome.row.visible.any()


def test_the_key_depends_on_thresholds_and_model() -> None:
    default = WristStage(WristConfig())
    changed = WristStage(WristConfig.model_validate({"mediapipe": {"min_presence": 0.9}}))
    assert default.models == ("mediapipe-hands@0.10.21",)
    assert default.key([]) != changed.key([])
    assert default.key([]) == WristStage(WristConfig()).key([])


def test_an_unknown_detector_is_named() -> None:
    with pytest.raises(UserError, match="'openpose': choose one of mediapipe-hands"):
        WristStage(WristConfig(detector="openpose"))
