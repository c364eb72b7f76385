"""MediaPipe's hand pipeline without MediaPipe: palm detection, landmarks, following in both directions.

The palm network looks at the whole picture. A hand of a neighbouring frame is looked for where it was: the
landmark network, fed with a square around the neighbour's landmarks, says where the hand is now and whether
it is there at all (its presence output). MediaPipe follows forwards only, because it is made for live video;
here clips are recorded, so hands are followed backwards as well, into the frames before a palm was seen.

Where a box detector proposes a further hand (`hand_proposals`), the landmark network looks at its box in eight
directions, and the one in which it is surest of a hand counts.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harp import weights
from pipelines.wrists.base import NUM_KEYPOINTS, Hand, HandBox, HandDetector
from pipelines.wrists.hand_crop import HandCrop
from pipelines.wrists.litert import LiteRtModel
from pipelines.wrists.palm_detection import PalmDetector

WEIGHTS = "mediapipe-hands"

PALM = [0, 5, 9, 13, 17]
"""Wrist and knuckles."""

PROPOSAL_SCALE = 1.4
"""Side of the square that the landmark network sees, in sides of a proposed box."""
DIRECTIONS = np.arange(8) * np.pi / 4

SAME_HAND = 0.5
"""Two palms of one frame nearer than this, in hand sizes, are one hand: twice found, not two hands."""


@dataclass(frozen=True)
class MediaPipeHandsConfig:
    """What decides which hands are found."""

    min_palm_score: float = 0.5
    min_presence: float = 0.7
    palm_interval: int = 4
    """While hands are followed, new ones are looked for in every n-th frame only."""
    min_proposal_score: float = 0.4
    """Of a box detector, where one proposes hands."""


class MediaPipeHands(HandDetector):
    """MediaPipe Hands (full models) on the CPU."""

    def __init__(
        self,
        folder: Path,
        config: MediaPipeHandsConfig,
        num_threads: int = 1,
        proposals: Callable[[np.ndarray], list[HandBox]] | None = None,
    ) -> None:
        entry = weights.CATALOG[WEIGHTS]
        self.source = entry.model_id
        if proposals is not None:
            self.source += f"+{weights.CATALOG['handtrack'].model_id}"
        self.license = entry.license
        self._config = config
        self._proposals = proposals
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
                if self._proposals is not None:
                    hands = self._consider(frame, self._proposals(frame), hands)
            found.append(hands)
            known = hands
        for t in range(len(found) - 2, -1, -1):
            found[t] = self._follow(frames[t], found[t + 1], found[t])
        return found

    def _follow(self, frame: np.ndarray, neighbours: Sequence[Hand], hands: list[Hand]) -> list[Hand]:
        """`hands` of the frame, and those of a neighbouring frame that are in this one too."""
        missing = [hand for hand in neighbours if not any(_is_same(hand, other) for other in hands)]
        return self._look(frame, (HandCrop.from_landmarks(hand.keypoints) for hand in missing), hands)

    def _consider(self, frame: np.ndarray, boxes: Iterable[HandBox], hands: list[Hand]) -> list[Hand]:
        """`hands`, and those in proposed boxes that hold none of them."""
        for box in boxes:
            if any(np.linalg.norm(h.keypoints.mean(axis=0) - box.center) < 0.5 * box.size for h in hands):
                continue
            crops = [HandCrop(box.center, PROPOSAL_SCALE * box.size, angle) for angle in DIRECTIONS]
            best = max(crops, key=lambda crop: self._landmark(frame, crop).confidence)
            hands = self._look(frame, [best], hands)
        return hands

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
