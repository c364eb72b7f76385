"""Hands that MediaPipe's palm detector misses, found by proposals. Needs handtrack's weights on the machine."""

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from harp import weights
from pipelines.video import open_video
from pipelines.wrists.base import HandBox
from pipelines.wrists.hand_proposals import HandProposals
from pipelines.wrists.mediapipe_hands import MediaPipeHands, MediaPipeHandsConfig
from pipelines.wrists.stage import WristConfig, WristStage
from simulation.recording import Clip
from tests.pipelines.wrists.test_mediapipe_hands import clearly_visible, nearest


def test_a_box_without_direction_gives_the_hand(hand_models: Path, tabletop_clip: Clip) -> None:
    """A palm detector that sees nothing, and a box around the true hand, padded and square."""
    t = clearly_visible(tabletop_clip)[3]
    frame, wrist = tabletop_clip.frames[t], tabletop_clip.truth.wrist_pixels[t]
    (known,) = MediaPipeHands(hand_models, MediaPipeHandsConfig()).detect(frame[None])[0]
    box = HandBox(known.keypoints.mean(axis=0), known.size, 0.9)
    empty = HandBox(np.array([5.0, 5.0]), 20.0, 0.9)
    blind = MediaPipeHandsConfig(min_palm_score=1.0)
    for turned in (False, True):  # upside down there is another direction to be found
        view = np.ascontiguousarray(frame[::-1, ::-1]) if turned else frame
        size = np.array(frame.shape[1::-1]) - 1
        where = HandBox(size - box.center, box.size, 0.9) if turned else box
        detector = MediaPipeHands(hand_models, blind, proposals=lambda _, w=where: [empty, w, w])
        hands = detector.detect(view[None])[0]
        assert len(hands) == 1, "the empty box holds none, the second box the same"
        assert nearest(hands, size - wrist if turned else wrist) < 0.06 * frame.shape[1]
    assert detector.source == "mediapipe-hands@0.10.21+handtrack@3.3.6"


def test_the_stage_names_both_models() -> None:
    stage = WristStage(WristConfig(detector="mediapipe-hands+handtrack"))
    assert stage.models == ("mediapipe-hands@0.10.21", "handtrack@3.3.6")


@pytest.fixture(scope="module")
def proposals() -> HandProposals:
    (state,) = (state for state in weights.list_models() if state.entry.name == "handtrack")
    if not state.cached:
        pytest.skip("handtrack's weights are absent: harp weights pull handtrack")
    return HandProposals(state.path, 0.4)


def test_a_real_hand_is_proposed_in_pixels_of_the_frame(proposals: HandProposals, samples: Path) -> None:
    with open_video(samples / "dex_retargeting" / "human_hand_video.mp4") as video:
        (frame,) = islice(video.iter_frames(), 30, 31)
    (box,) = proposals(frame)
    assert box.score > 0.8
    assert np.linalg.norm(box.center - [729, 252]) < 20  # as looked at
    half = cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    (small,) = proposals(half)
    np.testing.assert_allclose(small.center, box.center / 2, atol=6)
    assert small.size == pytest.approx(box.size / 2, rel=0.15)
    assert proposals(np.full((240, 320, 3), 127, np.uint8)) == []
