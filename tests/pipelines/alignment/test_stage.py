"""Which cue a pair is aligned on, and what happens where there is none."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from data_schemas.pairs import Alignment
from pipelines.alignment.stage import AlignConfig, AlignStage
from pipelines.engine.stage import Done, Filtered
from pipelines.inputs import Annotated, PairInput
from pipelines.video import index_video
from tests.pipelines.alignment.made_pairs import (
    TruePair,
    annotated,
    demonstration,
    object_track,
    projected_track,
    true_pair,
    wrist_pair,
    wrist_track,
)


def aligned(pair: PairInput, config: AlignConfig | None = None) -> Alignment:
    (outcome,) = AlignStage(config).process([pair])
    assert isinstance(outcome, Done), outcome
    assert isinstance(outcome.row, Alignment)
    return outcome.row


def with_objects(pair: TruePair, wrist: bool = False) -> PairInput:
    """Object tracks that follow the hand's; wrists that are never seen, or none at all."""
    sides = []
    for name, points in (("human", pair.human_points), ("robot", pair.robot_points)):
        unseen = wrist_track(points, np.zeros(len(points), dtype=bool)) if wrist else None
        sides.append(annotated(name, len(points), unseen, object_track(points)))
    return PairInput("pair", *sides)


def test_wrists_come_first_and_recover_the_correspondence() -> None:
    pair = true_pair(0)
    row = aligned(wrist_pair(pair))
    assert (row.cue, row.pair_id, row.human_id, row.robot_id) == (
        "wrist",
        "pair",
        f"human-{len(pair.human_points)}",
        f"robot-{len(pair.robot_points)}",
    )
    assert pair.error(row.human_index) < 0.02
    assert row.usable_fraction == 1.0
    assert row.cost < 0.2
    np.testing.assert_array_equal(row.path[0], [0, 0])


def test_a_late_hand_does_not_swallow_the_start() -> None:
    pair = true_pair(1)
    seen = np.arange(len(pair.human_points)) >= len(pair.human_points) // 4
    row = aligned(wrist_pair(pair, human_visible=seen))
    assert pair.error(row.human_index) < 0.03
    assert row.human_index[0] == 0
    assert row.usable_fraction == pytest.approx(seen.mean())


@pytest.mark.parametrize("unseen_wrist", [False, True])
def test_objects_where_a_side_has_no_usable_wrist(unseen_wrist: bool) -> None:
    pair = true_pair(2)
    row = aligned(with_objects(pair, unseen_wrist))
    assert row.cue == "object"
    assert pair.error(row.human_index) < 0.02


def test_keypoints_that_hide_do_not_shift_the_object() -> None:
    pair = true_pair(3)
    visible = np.random.default_rng(0).random((len(pair.robot_points), 5)) > 0.4
    visible[0] = True
    halves = with_objects(pair)
    hidden = replace(halves.robot, objects=object_track(pair.robot_points, visible))
    whole, partly = aligned(halves), aligned(replace(halves, robot=hidden))
    assert np.abs(whole.human_index - partly.human_index).mean() < 0.5


def test_an_object_that_stays_put_is_no_cue() -> None:
    still = object_track(np.full((40, 2), 90.0))
    sides = [annotated(name, 40, None, still) for name in ("human", "robot")]
    (outcome,) = AlignStage(AlignConfig(cues=("wrist", "object"))).process([PairInput("pair", *sides)])
    assert isinstance(outcome, Filtered)
    assert outcome.reason == "no_common_cue"
    assert "wrist of the robot is absent" in outcome.detail
    assert "object of the human ranges over 0.0% of the image" in outcome.detail


def test_too_few_frames_are_no_cue() -> None:
    pair = true_pair(4)
    seen = np.arange(len(pair.human_points)) < 0.3 * len(pair.human_points)
    stage = AlignStage(AlignConfig(cues=("wrist",)))
    (outcome,) = stage.process([wrist_pair(pair, human_visible=seen)])
    assert isinstance(outcome, Filtered)
    assert "wrist of the human is usable in" in outcome.detail


def test_tracks_without_a_common_part_are_no_cue() -> None:
    pair = true_pair(4)
    early = np.arange(len(pair.human_points)) < 0.45 * len(pair.human_points)
    late = np.arange(len(pair.robot_points)) > 0.55 * len(pair.robot_points)
    (outcome,) = AlignStage(AlignConfig(cues=("wrist",))).process([wrist_pair(pair, early, late)])
    assert isinstance(outcome, Filtered)
    assert "different parts" in outcome.detail


@pytest.mark.parametrize("far", [1, 3, 6])
def test_points_far_outside_the_picture_do_not_take_over_the_track(far: int) -> None:
    """As of a tool that passes the camera's plane, whose projection is anywhere."""
    for seed in range(4):
        pair = true_pair(seed)
        points = pair.robot_points.copy()
        points[20 : 20 + far] = [-45000, 20000]
        robot = annotated("robot", len(points), projected_track(points))
        row = aligned(replace(wrist_pair(pair), robot=robot))
        assert pair.error(row.human_index) < 0.015
        unseen = ((points < -224) | (points >= 448)).any(axis=1)
        assert row.usable_fraction == pytest.approx(1 - unseen.mean())


def test_points_just_outside_the_picture_are_aligned_on() -> None:
    pair = true_pair(0)
    points = pair.robot_points + np.array([120, 0])
    robot = annotated("robot", len(points), projected_track(points))
    assert robot.wrist is not None
    assert robot.wrist.visible.mean() < 0.6
    row = aligned(replace(wrist_pair(pair), robot=robot))
    assert row.usable_fraction == 1.0
    assert pair.error(row.human_index) < 0.015


@pytest.mark.parametrize("share", [0.0, 0.4])
@pytest.mark.parametrize(("human_frames", "robot_frames"), [(2, 4), (4, 2)])
def test_samples_that_all_lie_beside_the_common_part_are_no_cue(
    human_frames: int, robot_frames: int, share: float
) -> None:
    """A hand seen in the two frames in the middle of four: neither of a clip's two frames lies in that part."""

    def side(name: str, count: int) -> Annotated:
        points = np.column_stack([np.linspace(20, 200, count), np.full(count, 50.0)])
        seen = np.array([False, True, True, False]) if count == 4 else np.ones(count, dtype=bool)
        return annotated(name, count, wrist_track(points, seen), object_track(points))

    pair = PairInput("pair", side("human", human_frames), side("robot", robot_frames))
    (outcome,) = AlignStage(AlignConfig(cues=("wrist",), min_usable_fraction=share)).process([pair])
    assert isinstance(outcome, Filtered)
    assert outcome.reason == "no_common_cue"
    assert aligned(pair, AlignConfig(min_usable_fraction=share)).cue == "object"


def test_one_outcome_per_pair_in_order() -> None:
    pairs = [replace(wrist_pair(true_pair(seed)), pair_id=str(seed)) for seed in range(3)]
    outcomes = AlignStage().process(pairs)
    assert [o.row.pair_id for o in outcomes if isinstance(o, Done) and isinstance(o.row, Alignment)] == [
        "0",
        "1",
        "2",
    ]


def test_configuration_and_descriptor_are_part_of_the_key() -> None:
    keys = {
        AlignStage(config).key([])
        for config in (
            None,
            AlignConfig(smoothing=0.2),
            AlignConfig(cues=("wrist",)),
            AlignConfig(cues=("object",)),
        )
    }
    assert len(keys) == 4
    assert AlignStage().models == ("motion_profile@1",)
    assert AlignStage(AlignConfig(cues=("wrist",))).models == ()


def moving_square(path: Path, centres: np.ndarray, colour: tuple[int, int, int]) -> Annotated:
    """A video of a square on a table, and its demonstration without any cue."""
    table = np.random.default_rng(0).integers(90, 130, size=(96, 96, 3)).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "12"})
        stream.height, stream.width, stream.pix_fmt = 96, 96, "yuv420p"
        for x, y in centres.round().astype(int):
            frame = table.copy()
            frame[y - 8 : y + 8, x - 8 : x + 8] = colour
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    index = index_video(path)
    row = demonstration(
        path.stem,
        len(index),
        width=96,
        height=96,
        video_path=path.name,
        pts=index.pts,
        keyframes=index.keyframes,
    )
    return Annotated(row, path.parent, None, None)


def test_frames_where_there_is_no_track_at_all(tmp_path: Path) -> None:
    path = np.column_stack([np.linspace(12, 84, 60), 48 + 30 * np.sin(np.linspace(0, 5, 60))])
    warp = np.rint(59 * np.linspace(0, 1, 45) ** 1.7).astype(int)
    human = moving_square(tmp_path / "human.mp4", path[warp], (220, 180, 150))
    robot = moving_square(tmp_path / "robot.mp4", path, (20, 20, 30))
    row = aligned(PairInput("pair", human, robot))
    assert row.cue == "features"
    truth = np.interp(np.arange(60), warp, np.arange(45))
    assert np.abs(row.human_index - truth).mean() < 0.02 * 45
    assert row.usable_fraction > 0.95


def test_a_still_video_has_no_feature_cue(tmp_path: Path) -> None:
    still = np.full((30, 2), 40.0)
    sides = [moving_square(tmp_path / f"{name}.mp4", still, (9, 9, 9)) for name in ("human", "robot")]
    (outcome,) = AlignStage().process([PairInput("pair", *sides)])
    assert isinstance(outcome, Filtered)
    assert "features of the robot is usable in 0%" in outcome.detail
