"""What the stages of curation read: payloads put together from the rows of earlier stages."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_schemas.camera import CameraMotion
from data_schemas.cues import ObjectTrack, WristTrack
from data_schemas.demonstrations import Demonstration
from data_schemas.pairs import Alignment


class SourceClip(NamedTuple):
    """One video that a reader discovered: what it needs to open it, not yet opened.

    `hints` are the reader's own (calibration folder, row of `pairs.csv`, …).
    """

    dataset: str
    source: str
    embodiment: str
    camera: str
    pair_key: str | None
    hints: dict


@dataclass(frozen=True)
class VideoInput:
    """A demonstration and the raw root under which its video lies."""

    demonstration: Demonstration
    raw_root: Path

    @property
    def video_path(self) -> Path:
        return self.raw_root / self.demonstration.video_path


@dataclass(frozen=True)
class TrackInput(VideoInput):
    """A demonstration with its wrist track: object finders look where the hand went."""

    wrist: WristTrack


@dataclass(frozen=True)
class Annotated(VideoInput):
    """A demonstration with all its cues; a cue that could not be had is None."""

    wrist: WristTrack | None
    objects: ObjectTrack | None
    camera: CameraMotion | None = None
    """None where the camera stands still."""

    def against_scene(self, points: np.ndarray) -> np.ndarray:
        """Tracks (T, ..., 2) with the camera's own motion taken out."""
        return points if self.camera is None else self.camera.against_scene(points)


@dataclass(frozen=True)
class PairInput:
    """Both halves of a pair, to be aligned."""

    pair_id: str
    human: Annotated
    robot: Annotated


@dataclass(frozen=True)
class VerdictInput:
    """A pair with its alignment, or a demonstration without partner, to be judged."""

    subject_id: str
    human: Annotated | None
    robot: Annotated | None
    alignment: Alignment | None
    missing_half: bool
