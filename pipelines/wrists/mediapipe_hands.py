"""MediaPipe's hand pipeline without MediaPipe: palm detection, landmarks, following in both directions.

The palm network looks at the whole picture. A hand of a neighbouring frame is looked for where it was: the
landmark network, fed with a square around the neighbour's landmarks, says where the hand is now and whether
it is there at all (its presence output). MediaPipe follows forwards only, because it is made for live video;
here clips are recorded, so hands are followed backwards as well, into the frames before a palm was seen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harp import weights
from pipelines.wrists.base import NUM_KEYPOINTS, Hand, HandDetector
from pipelines.wrists.hand_crop import HandCrop
from pipelines.wrists.litert import LiteRtModel
from pipelines.wrists.palm_detection import PalmDetector

WEIGHTS = "mediapipe-hands"

PALM = [0, 5, 9, 13, 17]
"""Wrist and knuckles."""

SAME_HAND = 0.5
"""Two palms of one frame nearer than this, in hand sizes, are one hand: twice found, not two hands."""


@dataclass(frozen=True)
class MediaPipeHandsConfig:
    """What decides which hands are found."""

    min_palm_score: float = 0.5
    min_presence: float = 0.7
    palm_interval: int = 4
    """While hands are followed, new ones are looked for in every n-th frame only."""


class MediaPipeHands(HandDetector):
    """MediaPipe Hands (full models) on the CPU."""

    def __init__(self, folder: Path, config: MediaPipeHandsConfig, num_threads: int = 1) -> None:
        entry = weights.CATALOG[WEIGHTS]
        self.source = entry.model_id
        self.license = entry.license
        self._config = config
        palm_model = LiteRtModel(folder / "palm_detection_full.tflite", num_threads)
        self._palms = PalmDetector(palm_model, config.min_palm_score)
        self._landmarks = LiteRtModel(folder / "hand_landmark_full.tflite", num_threads)

    def detect(self, frames: np.ndarray, previous: Sequence[Hand] = ()) -> list[list[Hand]]:
        """See `HandDetector.detect`."""
        found: list[list[Hand]] = []
        known = list(previous)
        for t, frame in enumerate(frames):
            hands = self._follow(frame, known, [])
            if len(hands) < len(known) or not hands or t % self._config.palm_interval == 0:
                hands = self._look(frame, map(HandCrop.from_palm, self._palms.detect(frame)), hands)
            found.append(hands)
            known = hands
        for t in range(len(found) - 2, -1, -1):
            found[t] = self._follow(frames[t], found[t + 1], found[t])
        return found

    def _follow(self, frame: np.ndarray, neighbours: Sequence[Hand], hands: list[Hand]) -> list[Hand]:
        """`hands` of the frame, and those of a neighbouring frame that are in this one too."""
        missing = [hand for hand in neighbours if not any(_is_same(hand, other) for other in hands)]
        return self._look(frame, (HandCrop.from_landmarks(hand.keypoints) for hand in missing), hands)

    def _look(self, frame: np.ndarray, crops: Iterable[HandCrop], hands: list[Hand]) -> list[Hand]:
        """`hands`, and those that the landmark network sees in the crops; of two that are one, the surer."""
        for crop in crops:
            hand = self._landmark(frame, crop)
            # The first crop was cut for another frame or for a palm alone, the second fits this very hand.
            if hand.confidence >= self._config.min_presence:
                hand = self._landmark(frame, HandCrop.from_landmarks(hand.keypoints))
            rivals = [other for other in hands if _is_same(hand, other)]
            if hand.confidence >= max([self._config.min_presence, *(r.confidence for r in rivals)]):
                hands = [other for other in hands if other not in rivals] + [hand]
        return hands

    def _landmark(self, frame: np.ndarray, crop: HandCrop) -> Hand:
        points, presence, right, _ = self._landmarks(crop.cut(frame).astype(np.float32) / 255)
        keypoints = points.reshape(NUM_KEYPOINTS, 3)[:, :2].astype(np.float64)
        return Hand(crop.to_frame(keypoints), float(presence[0]), float(right[0]))


def _is_same(a: Hand, b: Hand) -> bool:
    """Whether two detections in one frame, or in neighbouring ones, must be one hand."""
    apart = np.linalg.norm((a.keypoints[PALM] - b.keypoints[PALM]).mean(axis=0))
    return bool(apart < SAME_HAND * max(a.size, b.size))
