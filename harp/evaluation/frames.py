"""Which frames of a pair are looked at, the same ones for every method (paper A.4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from harp.data.sampling import horizon_frames
from harp.data.shards import ShardReader
from harp.data.version import Subject


@dataclass(frozen=True)
class FramePlan:
    """Frames of a video feature and of its latent actions, as places among the frames that are read."""

    frames: tuple[int, ...]
    """Frames to read, in order and each once."""
    video: tuple[int, ...]
    """Places of the F frames that the video feature pools."""
    transitions: tuple[tuple[int, int], ...]
    """Places of the M transitions' first and second frames."""


Planned = tuple[Subject, FramePlan]
"""A pair and what is looked at of it."""


def plan_frames(pair: Subject, num_frames: int, horizon_seconds: float, num_transitions: int) -> FramePlan:
    """Evenly spaced frames, first and last included, and evenly spaced transitions of one horizon."""
    last = pair.num_frames - 1
    video = np.linspace(0, last, num_frames).round().astype(int).tolist()
    horizon = horizon_frames(horizon_seconds, pair.fps, last)
    starts = np.linspace(0, last - horizon, num_transitions).round().astype(int).tolist()
    frames = sorted({*video, *starts, *(start + horizon for start in starts)})
    place = {frame: i for i, frame in enumerate(frames)}
    return FramePlan(
        tuple(frames),
        tuple(place[frame] for frame in video),
        tuple((place[start], place[start + horizon]) for start in starts),
    )


def read_frames(reader: ShardReader, pair: Subject, side: str, frames: Sequence[int]) -> torch.Tensor:
    """(n, H, W, 3) uint8 RGB."""
    places = (pair.locate(frame) for frame in frames)
    return torch.from_numpy(np.concatenate([reader.frames(segment, side, [i]) for segment, i in places]))
