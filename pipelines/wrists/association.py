"""From hands per frame to the one hand that acts.

1. Linking: hands of successive frames are joined one to one, nearest first by mean keypoint distance, if a
   hand can move that far in that time. What cannot be joined starts a tracklet of its own, so a jump that no
   hand makes never enters a track.
2. Choice: tracklets shorter than `min_tracklet_s` are noise. Every other one is worth its seconds of presence
   times how much it moves. The acting hand is the chain of tracklets, disjoint in time, of like size and
   within reach of one another, that is worth most. A chain, because a hand that leaves the picture and
   returns is the same.

Which side a hand is of counts in both: a left hand that passes close to a right one takes it for itself only if it
is much nearer, as a detector is now and then wrong about the side.

Nothing is interpolated: a frame without the hand stays without.

Convention: pixels (x, y) of the original frame; distances in hand sizes, so that thresholds hold for any
resolution and distance from the camera.
"""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipelines.wrists.base import Hand


@dataclass(frozen=True)
class AssociationConfig:
    """Which detections are one hand, and which hand acts."""

    max_speed: float = 15.0
    """Hand sizes per second; a size is about 0.15 m, so this is 2.2 m/s, faster than manipulation gets."""
    jitter: float = 0.5
    """Hand sizes that a detection may be off, at any frame rate."""
    max_link_gap_s: float = 0.35
    """A tracklet that misses the hand for longer ends."""
    min_tracklet_s: float = 0.15
    """Shorter tracklets are noise, unless the clip itself is hardly longer."""
    idle_worth: float = 0.1
    """Worth of a resting hand against one that moves one hand size per second."""
    wrong_side: float = 0.5
    """Hand sizes that a surely left and a surely right hand count as further apart."""
    max_size_ratio: float = 2.0
    """Of one hand, from one detection or tracklet to the next; what only looks like a hand differs more."""


@dataclass(eq=False)
class Tracklet:
    """One hand through successive frames."""

    frames: list[int] = field(default_factory=list)
    hands: list[Hand] = field(default_factory=list)
    # Kept as hands are added: sizes and sides are asked for at every frame, and to go through all hands for them would
    # take time that grows with the square of a clip's length.
    _sizes: list[float] = field(default_factory=list)
    _sum_right: float = 0.0

    def add(self, frame: int, hand: Hand) -> None:
        """Go on with the hand in a later frame."""
        self.frames.append(frame)
        self.hands.append(hand)
        insort(self._sizes, hand.size)
        self._sum_right += hand.right

    @property
    def size(self) -> float:
        """Median hand size, pixels: single detections of a closing hand vary."""
        upper = len(self._sizes) // 2
        return (self._sizes[upper] + self._sizes[-1 - upper]) / 2

    @property
    def right(self) -> float:
        """Mean probability of a right hand."""
        return self._sum_right / len(self.hands)


def link(hands: Sequence[Sequence[Hand]], times: np.ndarray, config: AssociationConfig) -> list[Tracklet]:
    """Join detections of successive frames into tracklets.

    Args:
        hands: T lists of hands.
        times: (T,) seconds, increasing.
    """
    done: list[Tracklet] = []
    open_: list[Tracklet] = []
    for t, candidates in enumerate(hands):
        # At a low frame rate the next frame may be further away than the gap allowed; it is a neighbour anyway.
        alive = [
            k
            for k in open_
            if k.frames[-1] == t - 1 or times[t] - times[k.frames[-1]] <= config.max_link_gap_s
        ]
        done += [k for k in open_ if k not in alive]
        open_ = alive
        free = set(range(len(candidates)))
        if open_ and candidates:
            gap_TN = np.array([[_distance(k.hands[-1], hand) for hand in candidates] for k in open_])
            side_TN = np.array([[k.size * abs(k.right - hand.right) for hand in candidates] for k in open_])
            reach_T1 = np.array([[_reach(k, times[t] - times[k.frames[-1]], config)] for k in open_])
            alike_TN = np.array(
                [[_alike(k.hands[-1].size, h.size, config) for h in candidates] for k in open_]
            )
            cost = np.where(alike_TN & (gap_TN <= reach_T1), gap_TN + config.wrong_side * side_TN, 1e9)
            for row, column in zip(*linear_sum_assignment(cost), strict=True):
                if cost[row, column] < 1e9:
                    open_[row].add(t, candidates[column])
                    free.discard(column)
        for n in sorted(free):
            open_.append(Tracklet())
            open_[-1].add(t, candidates[n])
    return sorted(done + open_, key=lambda k: k.frames[0])


def acting_hand(
    hands: Sequence[Sequence[Hand]], times: np.ndarray, config: AssociationConfig
) -> dict[int, Hand]:
    """Frame index to the acting hand; frames in which it was not found are absent.

    Args:
        hands: T lists of hands.
        times: (T,) seconds, increasing.
    """
    tracklets = link(hands, times, config)
    interval = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    span = float(times[-1] - times[0]) if len(times) else 0.0
    shortest = min(config.min_tracklet_s, span / 2)
    kept = [k for k in tracklets if times[k.frames[-1]] - times[k.frames[0]] + interval >= shortest]
    chain = _best_chain(kept, [_worth(k, times, interval, config) for k in kept], times, config)
    return {t: hand for k in chain for t, hand in zip(k.frames, k.hands, strict=True)}


def _best_chain(
    tracklets: list[Tracklet], worth: list[float], times: np.ndarray, config: AssociationConfig
) -> list[Tracklet]:
    """Chain of greatest total worth among `tracklets`, sorted by their first frame."""
    best: list[tuple[float, list[Tracklet]]] = []
    for tracklet, value in zip(tracklets, worth, strict=True):
        before = [
            chain
            for chain in best
            if chain[1][-1].frames[-1] < tracklet.frames[0]
            and _follows(chain[1][-1], tracklet, times, config)
        ]
        total, chain = max(before, key=lambda c: c[0], default=(0.0, []))
        best.append((total + value, [*chain, tracklet]))
    return max(best, key=lambda c: c[0], default=(0.0, []))[1]


def _follows(first: Tracklet, second: Tracklet, times: np.ndarray, config: AssociationConfig) -> bool:
    elapsed = times[second.frames[0]] - times[first.frames[-1]]
    return _alike(first.size, second.size, config) and _distance(first.hands[-1], second.hands[0]) <= _reach(
        first, elapsed, config
    )


def _alike(size: float, other: float, config: AssociationConfig) -> bool:
    return max(size, other) <= config.max_size_ratio * min(size, other)


def _worth(tracklet: Tracklet, times: np.ndarray, interval: float, config: AssociationConfig) -> float:
    presence = sum(hand.confidence for hand in tracklet.hands) * max(interval, 1e-6)
    return presence * (config.idle_worth + _speed(tracklet, times))


def _speed(tracklet: Tracklet, times: np.ndarray, window_s: float = 0.3) -> float:
    """Mean speed of the wrist, hand sizes per second, over windows long enough that jitter averages out."""
    t = times[tracklet.frames]
    wrists = np.array([hand.wrist for hand in tracklet.hands])
    ahead = np.minimum(np.searchsorted(t, t + window_s), len(t) - 1)
    elapsed = t[ahead] - t
    moved = np.linalg.norm(wrists[ahead] - wrists, axis=1)
    full = elapsed >= min(window_s, t[-1] - t[0])
    if not full.any() or t[-1] == t[0]:
        return 0.0
    return float(np.mean(moved[full] / elapsed[full]) / tracklet.size)


def _distance(a: Hand, b: Hand) -> float:
    """Mean keypoint distance, pixels: tells crossing hands apart better than the wrists alone."""
    return float(np.linalg.norm(a.keypoints - b.keypoints, axis=1).mean())


def _reach(tracklet: Tracklet, elapsed: float, config: AssociationConfig) -> float:
    return tracklet.size * (config.jitter + config.max_speed * elapsed)
