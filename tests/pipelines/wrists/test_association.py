"""The acting hand among several, through gaps and jumps, on tracks whose truth is known."""

import numpy as np
import pytest

from pipelines.wrists.association import AssociationConfig, acting_hand, link
from pipelines.wrists.base import Hand

CONFIG = AssociationConfig()
FPS = 30
TIMES = np.arange(90) / FPS
SHAPE = np.random.default_rng(0).uniform(-20, 20, (21, 2)) - [0, 20]
SHAPE[0] = 0


def hand_at(wrist: np.ndarray, jitter: np.ndarray | float = 0.0) -> Hand:
    return Hand(SHAPE + wrist + jitter, confidence=0.9, right=0.9)


def moving(times: np.ndarray) -> np.ndarray:
    """Wrist going to and fro, at most 2.8 hand sizes per second."""
    return np.column_stack([150 + 70 * np.sin(1.5 * times), 100 + 30 * np.cos(times)])


def still(times: np.ndarray) -> np.ndarray:
    return np.tile([300.0, 180.0], (len(times), 1))


def wrists(acting: dict[int, Hand]) -> np.ndarray:
    return np.array([acting[t].wrist for t in sorted(acting)])


@pytest.mark.parametrize("fps", [8, 30])
@pytest.mark.parametrize("seed", range(3))
def test_the_moving_hand_acts_not_the_resting_one(seed: int, fps: int) -> None:
    rng = np.random.default_rng(seed)
    times = np.arange(3 * fps) / fps
    a = moving(times) + rng.normal(scale=1, size=(len(times), 2))
    b = still(times) + rng.normal(scale=1, size=(len(times), 2))
    frames = [[hand_at(p) for p in rng.permutation([x, y])] for x, y in zip(a, b, strict=True)]
    acting = acting_hand(frames, times, CONFIG)
    assert sorted(acting) == list(range(len(times)))
    np.testing.assert_allclose(wrists(acting), a)


def test_the_resting_hand_does_not_fill_a_gap_of_the_acting_one() -> None:
    a, b = moving(TIMES), still(TIMES)
    gap = range(40, 49)
    frames = [[hand_at(b[t])] + ([hand_at(a[t])] if t not in gap else []) for t in range(90)]
    acting = acting_hand(frames, TIMES, CONFIG)
    assert sorted(acting) == [t for t in range(90) if t not in gap]
    np.testing.assert_allclose(wrists(acting), np.delete(a, list(gap), axis=0))


def test_a_hand_that_leaves_and_returns_is_the_same() -> None:
    a = moving(TIMES)
    seen = [t for t in range(90) if not 30 <= t < 60]
    acting = acting_hand([[hand_at(a[t])] if t in seen else [] for t in range(90)], TIMES, CONFIG)
    assert sorted(acting) == seen


def test_something_hand_like_of_another_size_does_not_continue_the_hand() -> None:
    a = moving(TIMES)
    small = Hand(SHAPE * 0.3 + np.array([160, 110]), confidence=0.9, right=0.9)
    acting = acting_hand([[hand_at(a[t])] if t < 60 else [small] for t in range(90)], TIMES, CONFIG)
    assert sorted(acting) == list(range(60))


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_jump_that_no_hand_makes_is_rejected(length: int) -> None:
    a = moving(TIMES)
    wrong = range(45, 45 + length)
    frames = [[hand_at(a[t] + ([400, 0] if t in wrong else [0, 0]))] for t in range(90)]
    acting = acting_hand(frames, TIMES, CONFIG)
    assert sorted(acting) == [t for t in range(90) if t not in wrong]


def test_crossing_hands_keep_their_identity() -> None:
    x = np.linspace(0, 300, 90)
    flipped = SHAPE * [1, -1]
    frames = []
    for t in range(90):
        second = Hand(flipped + np.array([300 - x[t], 110]), 0.9, 0.1)
        frames.append([hand_at(np.array([x[t], 100])), second][:: 1 if t % 2 else -1])
    tracklets = link(frames, TIMES, CONFIG)
    assert [len(tracklet.frames) for tracklet in tracklets] == [90, 90]
    for tracklet in tracklets:
        assert len({hand.right for hand in tracklet.hands}) == 1


def test_events_keep_their_time() -> None:
    """A hand that stops dead: the found position is the detected one, frame by frame."""
    a = np.column_stack([np.minimum(np.arange(90), 40) * 4.0, np.full(90, 100.0)])
    acting = acting_hand([[hand_at(p)] for p in a], TIMES, CONFIG)
    np.testing.assert_array_equal(wrists(acting), a)


def test_no_hands_no_track() -> None:
    assert acting_hand([[] for _ in TIMES], TIMES, CONFIG) == {}
    assert acting_hand([], np.empty(0), CONFIG) == {}


def test_a_clip_of_one_frame_keeps_its_hand() -> None:
    hand = hand_at(np.array([10.0, 10.0]))
    assert acting_hand([[hand]], np.zeros(1), CONFIG) == {0: hand}


def test_a_left_hand_that_crosses_a_right_one_does_not_become_it() -> None:
    """Both move on straight lines that meet; near the crossing the detections jump by more than what is between them."""
    times = np.arange(40) / 10
    right = np.column_stack([100 + 20 * times, np.full(40, 100.0)])
    left = np.column_stack([180 - 20 * times, np.full(40, 104.0)])
    meeting, apart = slice(19, 22), np.array([0, 4])
    left[meeting], right[meeting] = right[meeting] + apart, left[meeting] - apart  # as if they had bounced
    hands = [
        [Hand(SHAPE + r, 0.9, right=0.95), Hand(SHAPE + l, 0.9, right=0.05)]
        for r, l in zip(right, left, strict=True)
    ]
    tracks = link(hands, times, CONFIG)
    assert len(tracks) == 2
    assert sorted(round(track.right, 2) for track in tracks) == [0.05, 0.95]
    blind = link(hands, times, AssociationConfig(wrong_side=0.0))
    assert any(0.1 < track.right < 0.9 for track in blind)


def test_size_and_side_of_a_tracklet_are_those_of_all_its_hands() -> None:
    rng = np.random.default_rng(0)
    frames = [
        [Hand(SHAPE * rng.uniform(0.8, 1.2) + p, 0.9, rng.uniform(0.6, 1)) for p in pair]
        for pair in zip(moving(TIMES), still(TIMES), strict=True)
    ]
    for until in (1, 2, 50, 89, 90):
        tracklets = link(frames[:until], TIMES, CONFIG)
        assert [len(k.hands) for k in tracklets] == [until, until]
        for k in tracklets:
            assert k.size == np.median([max(np.ptp(hand.keypoints, axis=0)) for hand in k.hands])
            assert k.right == pytest.approx(np.mean([hand.right for hand in k.hands]))


def test_a_hand_is_measured_once_however_long_the_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Hand] = []
    box = vars(Hand)["box"].fget
    monkeypatch.setattr(Hand, "box", property(lambda hand: measured.append(hand) or box(hand)))
    frames = [[hand_at(a), hand_at(b)] for a, b in zip(moving(TIMES), still(TIMES), strict=True)]
    assert len(acting_hand(frames, TIMES, CONFIG)) == 90
    assert len(measured) <= 180
