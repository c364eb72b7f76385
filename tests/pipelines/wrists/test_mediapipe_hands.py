"""Hands in rendered clips, whose wrists are known, and in real ones."""

from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from pipelines.video import open_video
from pipelines.wrists.base import Hand
from pipelines.wrists.litert import LiteRtModel
from pipelines.wrists.mediapipe_hands import MediaPipeHands, MediaPipeHandsConfig
from pipelines.wrists.palm_detection import PalmDetector
from simulation.recording import Clip


def clearly_visible(clip: Clip) -> np.ndarray:
    """Frames whose true wrist is visible and not at the border."""
    size = clip.frames.shape[1]
    wrist = clip.truth.wrist_pixels
    return np.flatnonzero(clip.truth.wrist_visible & ((wrist > 5) & (wrist < size - 6)).all(axis=1))


def nearest(hands: list[Hand], wrist: np.ndarray) -> float:
    return min((float(np.linalg.norm(hand.wrist - wrist)) for hand in hands), default=np.inf)


def test_the_wrist_is_found_where_it_is(detector: MediaPipeHands, tabletop_clip: Clip) -> None:
    found = detector.detect(tabletop_clip.frames)
    wrist = tabletop_clip.truth.wrist_pixels
    errors = np.array([nearest(found[t], wrist[t]) for t in clearly_visible(tabletop_clip)])
    width = tabletop_clip.frames.shape[2]
    assert np.isfinite(errors).mean() >= 0.9
    assert np.median(errors) <= 0.04 * width


def test_coordinates_are_pixels_of_the_original_frame(detector: MediaPipeHands, tabletop_clip: Clip) -> None:
    """The same picture, enlarged and padded: the same hand, at twice the coordinates plus the padding."""
    t = clearly_visible(tabletop_clip)[3]
    frame = tabletop_clip.frames[t]
    size = frame.shape[0]
    enlarged = cv2.resize(frame, (2 * size, 2 * size), interpolation=cv2.INTER_CUBIC)
    canvas = np.full((2 * size + 50, 2 * size + 200, 3), 90, np.uint8)
    canvas[20 : 20 + 2 * size, 150 : 150 + 2 * size] = enlarged
    (hand, *_), (other, *_) = detector.detect(frame[None])[0], detector.detect(canvas[None])[0]
    # The centre of pixel 0 lies at 0.5 of an enlarged picture.
    expected = 2 * hand.keypoints + 0.5 + np.array([150, 20])
    assert np.linalg.norm(other.keypoints - expected, axis=1).mean() < 0.05 * other.size


def test_hands_are_followed_both_ways_but_never_invented(hand_models: Path, tabletop_clip: Clip) -> None:
    """A palm seen in one frame gives the hand in its neighbours too, unless the picture is empty."""
    seen = clearly_visible(tabletop_clip)
    frames = tabletop_clip.frames[seen[4] : seen[4] + 5]
    blind = MediaPipeHands(hand_models, MediaPipeHandsConfig(min_palm_score=1.0))
    assert blind.detect(frames) == [[]] * 5

    sighted = MediaPipeHands(hand_models, MediaPipeHandsConfig())
    known = sighted.detect(frames[:1])[0]
    forward = blind.detect(frames[1:], previous=known)
    assert [len(hands) for hands in forward] == [len(known)] * 4

    empty = np.full_like(frames[:1], 127)
    assert [len(h) for h in blind.detect(np.concatenate([empty, frames]), previous=known)] == [0] * 6
    found = sighted.detect(np.concatenate([frames, empty]))
    assert found[-1] == []
    assert all(found[:-1])


def test_a_hand_is_followed_backwards(hand_models: Path, tabletop_clip: Clip) -> None:
    """With a palm threshold that only the last frame passes, all of them get their hand."""
    seen = clearly_visible(tabletop_clip)
    frames, wrist = tabletop_clip.frames[seen], tabletop_clip.truth.wrist_pixels[seen]
    palms = PalmDetector(LiteRtModel(hand_models / "palm_detection_full.tflite", 1), min_score=0.1)
    scores = np.array([max((palm.score for palm in palms.detect(f)), default=0.0) for f in frames])
    first = next(t for t in range(2, len(scores)) if scores[t] > scores[:t].max())
    strict = MediaPipeHands(hand_models, MediaPipeHandsConfig(min_palm_score=float(scores[first])))
    found = strict.detect(frames[: first + 1])
    errors = [nearest(hands, w) for hands, w in zip(found, wrist, strict=False)]
    assert np.median(errors) <= 0.04 * frames.shape[2]


def test_two_hands_are_two(detector: MediaPipeHands, tabletop_clip: Clip) -> None:
    """A picture beside its mirror image holds a left and a right hand."""
    t = clearly_visible(tabletop_clip)[6]
    frame = tabletop_clip.frames[t]
    hands = detector.detect(np.hstack([frame, frame[:, ::-1]])[None])[0]
    width = frame.shape[1]
    wrist = tabletop_clip.truth.wrist_pixels[t]
    assert nearest(hands, wrist) < 0.06 * width
    assert nearest(hands, np.array([2 * width - 1 - wrist[0], wrist[1]])) < 0.06 * width


def test_source_and_license(detector: MediaPipeHands) -> None:
    assert detector.source == "mediapipe-hands@0.10.21"
    assert detector.license == "Apache-2.0"


def test_real_hands(detector: MediaPipeHands, samples: Path) -> None:
    """A bare right hand in front of a wall, gesturing."""
    with open_video(samples / "dex_retargeting" / "human_hand_video.mp4") as video:
        frames = np.stack(list(islice(video.iter_frames(), 12)))
    found = detector.detect(frames)
    assert [len(hands) for hands in found] == [1] * 12
    assert min(hands[0].right for hands in found) > 0.5
    # The wrist is below the finger tips and inside the picture, and the hand does not flicker.
    wrists = np.array([hands[0].wrist for hands in found])
    tips = np.array([hands[0].keypoints[[8, 12, 16]].mean(axis=0) for hands in found])
    assert (wrists[:, 1] > tips[:, 1]).all()
    assert np.linalg.norm(np.diff(wrists, axis=0), axis=1).max() < 0.1 * found[0][0].size
