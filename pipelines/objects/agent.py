"""Where the working end of the agent is, and where it dwells.

The wrist track of a robot ends at its fingertips; a person's wrist lies a hand's length behind them. The
missing length is read from the picture: whatever is neither the early nor the late view is the agent, and
its far end, seen from the arm, is the tip.
"""

import itertools
from dataclasses import dataclass

import cv2
import numpy as np

from data_schemas.cues import WristTrack
from pipelines.objects.colour import channel_range, largest_channel
from pipelines.objects.scene_change import SHADOW_SPREAD, Views

HAND = 0.22
"""Longest distance between wrist and fingertips, as a share of the longer side.

A pointing finger reaches 0.3 in the nearest views. On 13 simulated presses 0.32 puts 12 boxes on the button
instead of 10, but the tip then lies beyond grasped objects and a pick-and-place takes the target for the object."""


@dataclass(frozen=True)
class AgentPath:
    """S: sampled frames."""

    tips: np.ndarray
    """(S, 2) analysed pixels; NaN where unknown."""
    wrists: np.ndarray
    """(S, 2) analysed pixels; NaN where unknown. For a robot the same as `tips`."""
    dwell: np.ndarray
    """(S,) weight: high where the tip is slow and far from where the clip starts and ends."""

    def arm(self, samples: np.ndarray) -> np.ndarray:
        """(P, 2) points that the agent surely covers at `samples`, short of its tips."""
        share = np.array([0.0, 0.2, 0.4, 0.6])[:, None, None]
        line = self.wrists[samples] + share * (self.tips[samples] - self.wrists[samples])
        return line.reshape(-1, 2)


def agent_path(views: Views, wrist: WristTrack, embodiment: str) -> AgentPath:
    """Tips and dwell of the agent at the sampled frames."""
    points = _fill_short_gaps(wrist)[views.indices] * views.scale
    tips = points if embodiment == "robot" else _fingertips(views, points)
    return AgentPath(tips, points, _dwell(points))


def _fill_short_gaps(wrist: WristTrack, longest: int = 8) -> np.ndarray:
    """(T, 2) visible points, gaps of up to `longest` frames bridged by straight lines."""
    points = np.where(wrist.visible[:, None], wrist.points, np.nan).astype(np.float64)
    seen = np.flatnonzero(np.isfinite(points).all(axis=1))
    for before, after in itertools.pairwise(seen):
        if 1 < after - before <= longest + 1:
            share = (np.arange(before + 1, after) - before)[:, None] / (after - before)
            points[before + 1 : after] = points[before] + share * (points[after] - points[before])
    return points


def _fingertips(views: Views, wrists: np.ndarray) -> np.ndarray:
    """Wrist plus the offset to the end of the hand that lies farthest from where the arm enters the picture.

    One silhouette is ragged (shadow, a sleeve like the table), so the offset is a median over the
    neighbouring fifth of the clip.
    """
    reach = HAND * max(views.frames.shape[1:3])
    offsets = np.full_like(wrists, np.nan)
    for sample in np.flatnonzero(np.isfinite(wrists).all(axis=1)).tolist():
        arm = _largest_near(views.passed(sample) & ~_shadow(views, sample), wrists[sample])
        if arm is None:
            continue
        ys, xs = np.nonzero(arm)
        pixels = np.stack([xs, ys], axis=1)
        border = (xs == 0) | (ys == 0) | (xs == arm.shape[1] - 1) | (ys == arm.shape[0] - 1)
        hand = pixels[np.hypot(*(pixels - wrists[sample]).T) < reach]
        if border.any() and len(hand):
            away = np.hypot(*(hand - pixels[border].mean(axis=0)).T)
            offsets[sample] = np.median(hand[away >= np.percentile(away, 99.5)], axis=0) - wrists[sample]
    known = np.flatnonzero(np.isfinite(offsets).all(axis=1))
    if not len(known):
        return wrists
    half = max(2, len(wrists) // 10)
    smooth = [np.median(offsets[known[_nearest(known, i, 2 * half + 1)]], axis=0) for i in range(len(wrists))]
    return wrists + np.stack(smooth)


def _nearest(values: np.ndarray, to: int, count: int) -> np.ndarray:
    """Positions of the `count` entries of `values` that are nearest to `to`."""
    return np.argsort(np.abs(values - to), kind="stable")[:count]


def _shadow(views: Views, sample: int) -> np.ndarray:
    """(h, w) bool: darker than the early view by one factor in all channels."""
    ratio = (views.frames[sample] + 8.0) / (views.early + 8.0)
    high, spread = largest_channel(ratio), channel_range(ratio)
    return (high < 0.92) & (high > 0.3) & (spread < SHADOW_SPREAD)


def _largest_near(mask: np.ndarray, point: np.ndarray, slack: int = 6) -> np.ndarray | None:
    """The largest connected region of `mask` that comes within `slack` pixels of `point`."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    x, y = np.round(point).astype(int)
    window = labels[max(0, y - slack) : y + slack + 1, max(0, x - slack) : x + slack + 1]
    near = np.unique(window[window > 0])
    if not len(near):
        return None
    return labels == max(near.tolist(), key=lambda label: stats[label, cv2.CC_STAT_AREA])


def _dwell(points: np.ndarray) -> np.ndarray:
    """Slowness times distance from both ends of the path, each relative to the clip's own range."""
    seen = np.flatnonzero(np.isfinite(points).all(axis=1))
    weights = np.zeros(len(points))
    if len(seen) < 3:
        return weights
    path = points[seen]
    speed = np.hypot(*np.gradient(path, seen.astype(float), axis=0).T)
    slowness = 1.0 / (1.0 + speed / max(float(np.median(speed)), 0.3))
    away = np.minimum(*(np.hypot(*(path - end).T) for end in (path[0], path[-1])))
    excursion = np.hypot(*(path - path[0]).T)
    span = max(float(excursion.max()), 1.0)
    weights[seen] = slowness**2 * (away / span + 0.1 * excursion / span)
    return weights
