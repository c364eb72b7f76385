"""Which candidate is taken, and at which frame, with a detector whose answers are known."""

from collections.abc import Callable, Sequence

import numpy as np

from pipelines.objects.base import ArrayFrames, GroundingRequest
from pipelines.objects.phrase_detector import Detection, PhraseDetector
from pipelines.objects.phrase_grounding import PhraseGrounder
from tests.pipelines.objects.conftest import REST, Clip

OBJECT = np.r_[REST - 12, REST + 12].astype(np.float32)
TWIN = np.array([100, 110, 122, 132], np.float32)
"""The distractor of `make_clip`."""


class Scripted(PhraseDetector):
    """Answers by a function of the frame number, which is written into each frame's first pixel."""

    model = "scripted@1"

    def __init__(self, answer: Callable[[int], list[Detection]]) -> None:
        self.answer = answer
        self.calls: list[int] = []

    def load(self) -> None: ...

    def detect(self, frames: Sequence[np.ndarray], phrases: Sequence[str]) -> list[list[Detection]]:
        self.calls.append(len(frames))
        return [self.answer(int(frame[0, 0, 0])) for frame in frames]


def request(clip: Clip, *, wrist: bool = True) -> GroundingRequest:
    frames = clip.frames.copy()
    frames[:, 0, 0] = np.arange(len(frames))[:, None]
    seen = None if wrist else np.zeros(len(frames), bool)
    return GroundingRequest(ArrayFrames(frames), clip.wrist(seen), "robot", "block")


def test_of_two_equal_things_the_handled_one_is_taken(carried: Clip) -> None:
    both = [Detection(TWIN, 0.6, "block"), Detection(OBJECT, 0.45, "block")]
    (box,) = PhraseGrounder(Scripted(lambda _: both)).ground([request(carried)])
    assert box is not None
    assert np.array_equal(box.box, OBJECT)
    assert box.frame == 0
    assert box.source == "scripted@1+phrase-grounding@2"
    (touched,) = PhraseGrounder(Scripted(lambda _: both[::-1])).ground([request(carried)])
    assert touched is not None
    assert np.array_equal(touched.box, OBJECT)


def test_without_a_wrist_the_score_decides(carried: Clip) -> None:
    both = [Detection(TWIN, 0.6, "block"), Detection(OBJECT, 0.45, "block")]
    (box,) = PhraseGrounder(Scripted(lambda _: both)).ground([request(carried, wrist=False)])
    assert box is not None
    assert np.array_equal(box.box, TWIN)


def test_first_occurrence_is_found_exactly_and_all_clips_are_looked_at_together(carried: Clip) -> None:
    for first in (1, 15, 22, 44):
        detector = Scripted(lambda t, first=first: [Detection(OBJECT, 0.5, "block")] if t >= first else [])
        boxes = PhraseGrounder(detector, stride=15).ground([request(carried), request(carried)])
        assert [box.frame for box in boxes if box is not None] == [first, first]
        assert detector.calls[0] == 2 * 4, "56 frames, every 15th, of both clips in one call"
        assert all(calls == 2 for calls in detector.calls[1:])


def test_what_was_there_before_is_not_taken_for_an_earlier_sight_of_a_thing_that_is_brought_in(
    carried: Clip,
) -> None:
    """The like of it lies in view all along; the thing itself shows from frame 22 on."""
    twin, thing = Detection(TWIN, 0.6, "block"), Detection(OBJECT, 0.45, "block")
    detector = Scripted(lambda t: [twin, thing] if t >= 22 else [twin])
    (box,) = PhraseGrounder(detector, stride=15).ground([request(carried)])
    assert box is not None
    assert np.array_equal(box.box, OBJECT)
    assert box.frame == 22


def test_nothing_found_is_nothing(carried: Clip) -> None:
    assert PhraseGrounder(Scripted(lambda _: [])).ground([request(carried)]) == [None]
