"""Wrist tracks of human demonstrations: detect hands in every frame, follow the one that acts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from data_schemas.cues import WristTrack
from pipelines.inputs import VideoInput
from pipelines.video import VideoReader, open_demonstration
from pipelines.wrists.association import AssociationConfig, acting_hand
from pipelines.wrists.base import Hand, HandDetector, WristAnnotator, wrist_track
from pipelines.wrists.smoothing import smooth

CHUNK_BYTES = 256 * 2**20
"""Decoded frames held at once; at 640 x 360 that is 388 frames. Detectors follow hands within a chunk."""


@dataclass
class HumanWristAnnotator(WristAnnotator):
    """The wrist of the acting hand, found by a hand detector."""

    detector: HandDetector
    association: AssociationConfig
    smoothing: float = 0.0
    """Seconds; see `smoothing.smooth`."""

    @property
    def source(self) -> str:
        return self.detector.source

    def annotate(self, clip: VideoInput) -> WristTrack:
        """See `WristAnnotator.annotate`; visibility is the detector's confidence that a hand is there."""
        demonstration = clip.demonstration
        hands: list[list[Hand]] = []
        with open_demonstration(clip) as video:
            for frames in chunks(video):
                hands += self.detector.detect(frames, previous=hands[-1] if hands else ())
        acting = acting_hand(hands, demonstration.timestamps, self.association)
        points = np.full((len(hands), 2), np.nan)
        visibility = np.zeros(len(hands))
        flags = ["associated_elsewhere" if found else "not_found" for found in hands]
        for t, hand in acting.items():
            points[t], visibility[t], flags[t] = hand.wrist, hand.confidence, "found"
        points = smooth(points, demonstration.timestamps, self.smoothing)
        return wrist_track(demonstration, self.source, points, visibility, flags)


def chunks(video: VideoReader) -> Iterator[np.ndarray]:
    """All frames of `video` as (B, H, W, 3) arrays of at most `CHUNK_BYTES`."""
    length = max(1, CHUNK_BYTES // (video.width * video.height * 3))
    frames: list[np.ndarray] = []
    for frame in video.iter_frames():
        frames.append(frame)
        if len(frames) == length:
            yield np.stack(frames)
            frames = []
    if frames:
        yield np.stack(frames)
