"""The grounder against clips in which it is known what was moved."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.objects.base import ArrayFrames, GroundedBox, GroundingRequest
from pipelines.objects.motion_grounding import MotionGrounder
from tests.pipelines.objects.conftest import REST, Clip, make_clip


def ground(
    clip: Clip, seen: np.ndarray | None = None, embodiment: str = "robot", phrase: str = ""
) -> GroundedBox | None:
    request = GroundingRequest(ArrayFrames(clip.frames), clip.wrist(seen), embodiment, phrase)
    return MotionGrounder().ground([request])[0]


def overlap(box: GroundedBox, clip: Clip) -> float:
    half = clip.size / 2
    true = np.r_[clip.centre[box.frame] - half, clip.centre[box.frame] + half]
    low, high = np.maximum(box.box[:2], true[:2]), np.minimum(box.box[2:], true[2:])
    both = np.prod(np.clip(high - low, 0, None))
    return float(both / (np.prod(box.box[2:] - box.box[:2]) + clip.size**2 - both))


@pytest.mark.parametrize("name", ["carried", "covered", "touched"])
def test_finds_the_object_where_it_lay_first(name: str, request: pytest.FixtureRequest) -> None:
    clip: Clip = request.getfixturevalue(name)
    box = ground(clip)
    assert box is not None
    assert box.frame < 16, "the arm reaches the object in frame 16"
    assert overlap(box, clip) > 0.6
    assert box.source == "motion-grounding@4"


def test_a_touched_object_scores_less_than_a_moved_one(carried: Clip, touched: Clip) -> None:
    moved, still = ground(carried), ground(touched)
    assert moved is not None
    assert still is not None
    assert still.score < 0.7 * moved.score


def test_copes_with_a_wrist_that_is_mostly_not_seen(carried: Clip) -> None:
    seen = np.random.default_rng(0).uniform(size=len(carried.tips)) < 0.3
    box = ground(carried, seen)
    assert box is not None
    assert overlap(box, carried) > 0.6


def test_without_a_wrist_nothing_is_invented(carried: Clip) -> None:
    assert ground(carried, np.zeros(len(carried.tips), bool)) is None


def test_fingertips_are_found_ahead_of_a_human_wrist(carried: Clip) -> None:
    behind = Clip(carried.frames, carried.motions, carried.hidden, carried.tips - [0, 25], carried.size)
    box = ground(behind, embodiment="human")
    assert box is not None
    assert overlap(box, carried) > 0.6


@pytest.mark.parametrize(("phrase", "place"), [("the red box", REST), ("the green box", (88, 90))])
def test_a_named_colour_decides_between_things_as_near_as_each_other(
    phrase: str, place: tuple[float, float]
) -> None:
    clip = make_clip(moved=False, distractor=(88, 90))
    between = replace(clip, tips=clip.tips + np.array([19, 0]))
    box = ground(between, phrase=phrase)
    assert box is not None
    np.testing.assert_allclose((box.box[:2] + box.box[2:]) / 2, place, atol=6)


def test_mask_lies_in_the_box(carried: Clip) -> None:
    box = ground(carried)
    assert box is not None
    assert box.mask is not None
    ys, xs = np.nonzero(box.mask)
    assert box.box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_nothing_happens_nothing_found() -> None:
    rng = np.random.default_rng(0)
    still = rng.integers(90, 160, (12, 12, 3)).repeat(10, axis=0).repeat(10, axis=1)
    frames = np.clip(still + rng.normal(0, 1.5, (20, 120, 120, 3)), 0, 255).astype(np.uint8)
    clip = Clip(frames, np.tile(np.eye(3), (20, 1, 1)), np.zeros((20, 120, 120), bool), np.zeros((20, 2)), 10)
    assert ground(clip, np.zeros(20, bool)) is None


def test_one_frame_is_not_enough(carried: Clip) -> None:
    one = Clip(carried.frames[:1], carried.motions[:1], carried.hidden[:1], carried.tips[:1], carried.size)
    assert ground(one) is None


def test_large_frames_are_grounded_in_their_own_pixels() -> None:
    clip = make_clip()
    large = Clip(
        clip.frames.repeat(3, axis=1).repeat(3, axis=2), clip.motions, clip.hidden, clip.tips * 3, clip.size
    )
    box, small = ground(large), ground(clip)
    assert box is not None
    assert small is not None
    assert np.abs(box.box / 3 - small.box).max() < 3


def test_same_clip_same_box(carried: Clip) -> None:
    first, second = ground(carried), ground(carried)
    assert first is not None
    assert second is not None
    assert np.array_equal(first.box, second.box)
    assert first.mask is not None
    assert second.mask is not None
    assert np.array_equal(first.mask, second.mask)
