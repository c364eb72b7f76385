"""Which clips and frames make up the batch of a step.

The draw of step n is a pure function of (seed, n): there is no generator state to lose, a resumed run draws what it
would have drawn, and workers that each take a part of the batch need not talk to each other.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from data_schemas.errors import UserError
from harp.data.augmentation import View, draw_view
from harp.data.config import DataConfig
from harp.data.mixture import Mixture
from harp.data.sources import Clip, pools
from harp.data.version import Kind, PublishedVersion, Subject

# Each use of random numbers at a step has a stream of its own, so that one more of them leaves the others as they were.
PAIRS, SINGLES, FRAMES, VIEWS = range(4)


@dataclass(frozen=True)
class ClipDraw:
    """Frames drawn from one subject: `frames[0]` = t, `frames[1]` = t+Δ, then context frames in order of time."""

    subject: Subject
    frames: tuple[int, ...]
    kind: Kind
    """What the subject is used as; `human` and `robot` also for the half of a pair."""
    view: View | None = None
    """How the robot's frames and cues are seen."""


@dataclass(frozen=True)
class BatchDraw:
    """What one step trains on."""

    step: int
    pairs: tuple[ClipDraw, ...]
    singles: tuple[ClipDraw, ...]


class TransitionSampler:
    """Draws pairs and singles of a version's training split.

    Raises:
        UserError: the split has no subject of at least two frames that the configuration asks for, or sources
            that do not fit together.
    """

    def __init__(self, version: PublishedVersion, config: DataConfig, seed: int) -> None:
        self.config = config
        self._seed = seed
        pairs, singles = pools(version, config)
        self._pairs = Mixture(pairs, config.pairs_per_batch, seed, PAIRS)
        self._singles = Mixture(singles, config.singles_per_batch, seed, SINGLES)
        self.pairs_per_batch = self._pairs.number
        self.singles_per_batch = self._singles.number
        if self.pairs_per_batch + self.singles_per_batch == 0:
            raise UserError(
                f"Nothing to train on: {version.describe()}; pairs_per_batch is {config.pairs_per_batch}, "
                f"singles_per_batch is {config.singles_per_batch}."
            )

    @property
    def sizes(self) -> dict[str, int]:
        """Items of a batch, by the setting that asks for them."""
        return {"pairs_per_batch": self.pairs_per_batch, "singles_per_batch": self.singles_per_batch}

    def draw(self, step: int) -> BatchDraw:
        """The batch of a step (0, 1, 2, …)."""
        frames = np.random.default_rng([self._seed, step, FRAMES])
        views = np.random.default_rng([self._seed, step, VIEWS])
        return BatchDraw(
            step,
            tuple(self._clip(c, self.config.context_frames, frames, views) for c in self._pairs.draw(step)),
            tuple(self._clip(c, 0, frames, views) for c in self._singles.draw(step)),
        )

    def _clip(
        self, clip: Clip, num_context: int, rng: np.random.Generator, views: np.random.Generator
    ) -> ClipDraw:
        subject = clip.subject
        last = subject.num_frames - 1
        horizon = horizon_frames(rng.uniform(*self.config.horizon_seconds), subject.fps, last)
        t = int(rng.integers(last - horizon + 1))
        edges = np.linspace(0, subject.num_frames, num_context + 1)
        context = (min(last, math.floor(rng.uniform(*edge))) for edge in pairwise(edges))
        view = draw_view(self.config.robot_augmentation, views) if self.config.robot_augmentation else None
        return ClipDraw(subject, (t, t + horizon, *context), clip.kind, view)


def horizon_frames(seconds: float, fps: float, last: int) -> int:
    """Frames in a horizon Δ of so many seconds: at least 1, at most `last`."""
    return min(max(1, round(seconds * fps)), last)
