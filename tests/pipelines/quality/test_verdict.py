"""Every reason fires on its own case and on nothing else."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_schemas.pairs import Alignment, Verdict
from pipelines.alignment.stage import AlignStage
from pipelines.engine.stage import Done
from pipelines.inputs import Annotated, PairInput, VerdictInput
from pipelines.quality.verdict import VerdictConfig, VerdictStage, judge
from tests.pipelines.alignment.made_pairs import annotated, object_track, projected_track, wrist_track

FRAMES = 40
CONFIG = VerdictConfig()
PATH = np.column_stack([np.linspace(20, 180, FRAMES), np.linspace(200, 60, FRAMES)])
STILL = np.full((FRAMES, 2), 100.0) + np.random.default_rng(0).normal(scale=1.0, size=(FRAMES, 2))


def side(
    embodiment: str, points: np.ndarray = PATH, visible: np.ndarray | None = None, **changes: Any
) -> Annotated:
    """A clip whose hand follows `points`, without object track."""
    return annotated(embodiment, len(points), wrist_track(points, visible), **changes)


def alignment(cost: float = 0.1, index: np.ndarray | None = None, usable: float = 1.0) -> Alignment:
    index = np.arange(FRAMES) if index is None else index
    path = np.column_stack([np.arange(len(index)), index])
    return Alignment("pair", "h", "r", "wrist", index, path, cost, usable)


def pair(
    human: Annotated | None = None, robot: Annotated | None = None, aligned: Alignment | None = None
) -> VerdictInput:
    return VerdictInput("pair", human or side("human"), robot or side("robot"), aligned or alignment(), False)


def single(clip: Annotated, missing_half: bool = False) -> VerdictInput:
    human, robot = (clip, None) if clip.demonstration.embodiment == "human" else (None, clip)
    return VerdictInput("one", human, robot, None, missing_half)


def test_a_good_pair_is_accepted_with_its_figures() -> None:
    index = np.repeat(np.arange(FRAMES // 2), 2)
    verdict = judge(pair(aligned=alignment(0.12, index, 0.9)), CONFIG)
    assert (verdict.subject_id, verdict.kind, verdict.accepted, verdict.reasons) == ("pair", "pair", True, [])
    assert verdict.metrics["human_wrist_visible"] == 1.0
    assert verdict.metrics["robot_wrist_visible"] == 1.0
    assert verdict.metrics["alignment_cost"] == 0.12
    assert verdict.metrics["alignment_usable"] == 0.9
    assert verdict.metrics["duration_ratio"] == 1.0
    assert verdict.metrics["repeated_frames"] == pytest.approx(20 / 39)
    # A running median shortens a straight line by up to two of its steps at either end.
    assert verdict.metrics["human_motion"] == pytest.approx(np.hypot(160, 140) / np.hypot(224, 224), rel=0.11)
    assert np.isnan(verdict.metrics["human_object_visible"])


@pytest.mark.parametrize("embodiment", ["human", "robot"])
def test_a_good_single_is_accepted(embodiment: str) -> None:
    verdict = judge(single(side(embodiment, pair_key=None)), CONFIG)
    assert (verdict.kind, verdict.accepted) == (embodiment, True)
    assert set(verdict.metric_names) == {
        f"{embodiment}_{m}" for m in ("wrist_visible", "object_visible", "motion")
    }


def test_missing_half() -> None:
    subject = single(side("human"), missing_half=True)
    verdict = judge(subject, CONFIG)
    assert (verdict.kind, verdict.accepted, verdict.reasons) == ("human", False, ["missing_half"])
    assert judge(subject, VerdictConfig(publish_unpaired_halves=True)).accepted


def test_no_instruction() -> None:
    subject = pair(side("human", instruction=""), side("robot", instruction=" "))
    assert judge(subject, CONFIG).reasons == ["no_instruction"]
    assert judge(subject, VerdictConfig(require_instruction=False)).accepted
    assert judge(pair(side("human", instruction="")), CONFIG).accepted  # the other half tells


def test_too_few_visible_frames() -> None:
    rarely = np.arange(FRAMES) % 5 == 0
    hidden = pair(side("human", visible=rarely), aligned=alignment(usable=0.2))
    assert judge(hidden, CONFIG).reasons == ["too_few_visible_frames"]
    on_features = pair(side("human", visible=rarely), aligned=replace(alignment(), cue="features"))
    assert judge(on_features, CONFIG).accepted  # what the frames look like was seen
    assert judge(single(side("human", visible=rarely)), CONFIG).reasons == ["too_few_visible_frames"]
    nothing = annotated("robot", FRAMES)
    assert judge(single(nothing), CONFIG).reasons == ["too_few_visible_frames"]


def test_a_track_that_is_never_in_the_picture() -> None:
    """As of a robot whose calibration is another camera's: it aligns well, but nothing of it can be learnt from."""
    robot = annotated("robot", FRAMES, projected_track(PATH + np.array([230, 0])))
    (aligned,) = AlignStage().process([PairInput("pair", side("human"), robot)])
    assert isinstance(aligned, Done)
    assert isinstance(aligned.row, Alignment)
    assert (aligned.row.cue, aligned.row.usable_fraction) == ("wrist", 1.0)
    verdict = judge(pair(robot=robot, aligned=aligned.row), CONFIG)
    assert verdict.reasons == ["too_few_visible_frames"]
    assert verdict.metrics["robot_wrist_visible"] == 0.0
    with_object = replace(robot, objects=object_track(PATH))
    assert judge(pair(robot=with_object, aligned=aligned.row), CONFIG).accepted


def test_a_pair_that_could_not_be_aligned() -> None:
    subject = replace(pair(), alignment=None)
    assert judge(subject, CONFIG).reasons == ["too_few_visible_frames"]
    assert np.isnan(judge(subject, CONFIG).metrics["alignment_cost"])


def test_one_good_cue_is_enough() -> None:
    never = np.zeros(FRAMES, dtype=bool)
    clip = replace(side("robot", visible=never), objects=object_track(PATH))
    assert judge(single(clip), CONFIG).accepted


def test_static_clip() -> None:
    assert judge(pair(side("human", STILL)), CONFIG).reasons == ["static_clip"]
    assert judge(replace(pair(robot=side("robot", STILL)), alignment=None), CONFIG).reasons == ["static_clip"]
    assert judge(single(side("robot", STILL)), CONFIG).reasons == ["static_clip"]


def test_single_wrong_detections_do_not_move_a_static_clip() -> None:
    points = STILL.copy()
    points[[7, 20, 33]] = [[10, 10], [200, 30], [60, 220]]
    assert judge(single(side("human", points)), CONFIG).reasons == ["static_clip"]


@given(start=st.integers(0, 590), length=st.integers(8, 40))
@settings(max_examples=40, deadline=None)
def test_a_short_task_in_a_long_clip_is_not_static(start: int, length: int) -> None:
    """A press of the button: 20 px down and up again within a minute of waiting."""
    points = np.full((640, 2), 100.0)
    points[start : start + length, 1] += 20 * np.sin(np.linspace(0, np.pi, length))
    assert "static_clip" not in judge(single(side("human", points)), CONFIG).reasons


def test_duration_ratio() -> None:
    long = np.repeat(PATH, 5, axis=0)
    assert judge(pair(side("human", long)), CONFIG).reasons == ["duration_ratio"]
    slow = judge(pair(robot=side("robot", long), aligned=alignment(index=np.arange(5 * FRAMES) // 5)), CONFIG)
    assert slow.reasons == ["duration_ratio"]
    assert slow.metrics["duration_ratio"] == pytest.approx(0.2)
    # What counts is seconds, not frames.
    assert judge(pair(side("human", long, fps=50.0, timestamps=np.arange(5 * FRAMES) / 50)), CONFIG).accepted


def test_a_pause_of_the_recorder_counts_into_the_duration() -> None:
    times = np.arange(FRAMES) / 10
    times[FRAMES // 2 :] += 40
    verdict = judge(pair(robot=side("robot", timestamps=times)), CONFIG)
    assert verdict.reasons == ["duration_ratio"]
    assert verdict.metrics["duration_ratio"] == pytest.approx(4.0 / 44.0)


def test_duration_at_a_variable_frame_rate() -> None:
    """Half the frames in a burst: the median interval is 1/60 s, and the clip is 8 s long."""
    times = np.concatenate([np.arange(21) / 60, 21 / 60 + 0.4 * np.arange(1, 20)])
    even = np.linspace(0, times[-1], FRAMES)
    human = side("human", timestamps=even, fps=float(1 / even[1]))
    verdict = judge(pair(human, side("robot", timestamps=times, fps=60.0)), CONFIG)
    assert verdict.accepted
    assert verdict.metrics["duration_ratio"] == pytest.approx(1.0, abs=0.03)


def test_high_alignment_cost() -> None:
    limit = CONFIG.max_alignment_cost
    assert judge(pair(aligned=alignment(1.01 * limit)), CONFIG).reasons == ["high_alignment_cost"]
    assert judge(pair(aligned=alignment(0.99 * limit)), CONFIG).accepted
    # Frame features have more noise, and a limit of their own.
    on_features = replace(alignment(1.01 * limit), cue="features")
    assert judge(pair(aligned=on_features), CONFIG).accepted
    too_far = replace(on_features, cost=1.01 * CONFIG.max_feature_cost)
    assert judge(pair(aligned=too_far), CONFIG).reasons == ["high_alignment_cost"]


def test_several_reasons_are_all_named() -> None:
    subject = pair(side("human", STILL, instruction=""), side("robot", instruction=""), alignment(9.0))
    assert set(judge(subject, CONFIG).reasons) == {"no_instruction", "static_clip", "high_alignment_cost"}


def test_a_clip_of_one_frame() -> None:
    verdict = judge(single(side("human", PATH[:1])), CONFIG)
    assert verdict.reasons == ["static_clip"]


def test_the_stage_gives_a_row_for_every_subject_in_order() -> None:
    subjects = [pair(), single(side("human"), missing_half=True), single(annotated("robot", FRAMES))]
    rows = [o.row for o in VerdictStage().process(subjects) if isinstance(o, Done)]
    assert [row.accepted for row in rows if isinstance(row, Verdict)] == [True, False, False]
    restored = [Verdict.from_record(row.to_record()) for row in rows]
    assert [row.reasons for row in restored] == [[], ["missing_half"], ["too_few_visible_frames"]]
