"""What a clip's scene looked like before and after the agent passed, and where it changed for good.

Every pixel is followed through time as a sequence of stable runs: stretches in which its colour stays
within noise. The first run that lasts is its early view, the last one its late view. Whatever only passes
(hand, arm, their shadow) breaks runs but leaves none that lasts, so it needs no segmentation. A pixel whose
early and late views differ belongs to the place that an object left or the place where it arrived.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.objects.base import FrameSource
from pipelines.objects.colour import channel_range, colour_distance
from pipelines.video.shrink import shrunk

MAX_SIDE = 224
"""Clips are analysed at this many pixels on the longer side."""
MAX_FRAMES = 48
"""Frames sampled from a clip, evenly."""
MIN_RUN = 0.07
"""Share of the clip that a run must last to count as a view."""
LASTING = 0.12
"""Share of the clip from which a late view is beyond doubt; a hand that rests at the end stays less."""
SHADOW_SPREAD = 0.1
"""A shadow darkens the three channels by factors that differ by less than this."""
MIN_STEP = 14.0
"""Smallest colour difference (of 255, largest channel) that counts as a change; coding noise stays below."""
AVERAGE_WEIGHT = 0.2
"""Weight of a new frame in a run's moving average, which follows slow changes of the light."""


@dataclass(frozen=True)
class Views:
    """A clip, small, and its scene before and after. h, w: analysed size; S: sampled frames."""

    frames: np.ndarray
    """(S, h, w, 3) uint8, smoothed."""
    indices: np.ndarray
    """(S,) frame numbers in the clip."""
    scale: float
    """Analysed pixels per original pixel."""
    step: float
    """Colour difference that counts as a change in this clip."""
    early: np.ndarray
    """(h, w, 3) float32."""
    late: np.ndarray
    """(h, w, 3) float32."""
    early_start: np.ndarray
    """(h, w) sampled frame at which the early run begins."""
    early_end: np.ndarray
    """(h, w) last sampled frame of the early run; S - 1 where nothing ever happened."""
    late_start: np.ndarray
    """(h, w) first sampled frame of the late run."""

    @property
    def difference(self) -> np.ndarray:
        """(h, w) float32 colour difference between the early and the late view."""
        return colour_distance(self.late, self.early)

    @property
    def lasting(self) -> np.ndarray:
        """(h, w) 0 to 1: how long the late view was there, 1 from a share of `LASTING` of the clip."""
        last = len(self.indices) - 1
        return np.clip((last - self.late_start) / (LASTING * last), 0, 1)

    @property
    def shaded(self) -> np.ndarray:
        """(h, w) bool: one view is the other darkened by one factor in all channels, as by a shadow."""
        ratio = (np.minimum(self.early, self.late) + 8.0) / (np.maximum(self.early, self.late) + 8.0)
        return channel_range(ratio) < SHADOW_SPREAD

    def passed(self, sample: int) -> np.ndarray:
        """(h, w) bool: what at this sampled frame is neither the early nor the late view, that is the agent."""
        frame = self.frames[sample].astype(np.float32)
        off_early = colour_distance(frame, self.early) > self.step
        off_late = colour_distance(frame, self.late) > self.step
        return off_early & off_late


def sample_clip(video: FrameSource) -> tuple[np.ndarray, np.ndarray, float]:
    """At most `MAX_FRAMES` frames, evenly spaced, reduced to `MAX_SIDE`: frames (S, h, w, 3), indices, scale."""
    total = len(video)
    indices = np.unique(np.linspace(0, total - 1, min(total, MAX_FRAMES)).round().astype(int))
    frames, scales = zip(*(shrunk(frame, MAX_SIDE) for frame in video.frames(indices)), strict=True)
    return np.stack(frames), indices, scales[0]


def scene_views(frames: np.ndarray, indices: np.ndarray, scale: float) -> Views:
    """Early and late views of sampled `frames` (S, h, w, 3)."""
    smooth = np.stack([cv2.GaussianBlur(frame, (3, 3), 0) for frame in frames])
    step = max(MIN_STEP, 5.0 * _noise(smooth))
    shortest = max(2, round(MIN_RUN * len(smooth)))
    early, early_start, early_end = _first_run(smooth, step, shortest)
    late, _, late_first = _first_run(smooth[::-1], step, shortest)
    # A hand that dwells leaves a run that lasts; what the last frame shows as it was early has not changed.
    returned = colour_distance(smooth[-1].astype(np.float32), early) <= step
    late[returned] = early[returned]
    last = len(smooth) - 1
    return Views(smooth, indices, scale, step, early, late, early_start, early_end, last - late_first)


def _noise(frames: np.ndarray) -> float:
    """Standard deviation of a still pixel, from differences of neighbouring frames (most pixels stand still)."""
    pairs = np.linspace(0, len(frames) - 2, min(len(frames) - 1, 8)).astype(int)
    jumps = [cv2.absdiff(frames[i], frames[i + 1])[::2, ::2] for i in pairs]
    return float(np.mean(jumps, where=np.less(jumps, 20))) if jumps else 0.0


def _first_run(frames: np.ndarray, step: float, shortest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour, start and end of each pixel's first stable run of at least `shortest` frames.

    A run ends when the colour leaves the run's moving average by more than `step` in any channel for two
    frames: one odd frame is noise. Pixels without such a run keep the first frame's colour and an empty run.
    """
    count, height, width, _ = frames.shape
    mean = frames[0].astype(np.float32)
    start = np.zeros((height, width), np.int32)
    colour, first, last = mean.copy(), start.copy(), start.copy()
    done = np.zeros((height, width), bool)
    missed = np.zeros((height, width), bool)
    for t in range(1, count):
        frame = frames[t].astype(np.float32)
        outside = colour_distance(frame, mean) > step
        broken = outside & missed
        ended = broken & ~done & (t - 1 - start >= shortest)
        if ended.any():
            colour[ended], first[ended], last[ended] = mean[ended], start[ended], t - 2
            done |= ended
        cv2.accumulateWeighted(frame, mean, AVERAGE_WEIGHT, mask=(~outside).astype(np.uint8))
        cv2.copyTo(frame, broken.astype(np.uint8), mean)
        start[broken] = t
        missed = outside & ~broken
    open_end = ~done & (count - start >= shortest)
    colour[open_end], first[open_end], last[open_end] = mean[open_end], start[open_end], count - 1
    return colour, first, last
