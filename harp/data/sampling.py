"""Which clips and frames make up the batch of a step.

The draw of step n is a pure function of (seed, n): there is no generator state to lose, a resumed run draws what it
would have drawn, and workers that each take a part of the batch need not talk to each other. Every epoch is a new
permutation of the subjects; its incomplete last batch is dropped, because a pair that appears twice in one
batch would be its own negative.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from data_schemas.errors import UserError
from harp.data.config import DataConfig
from harp.data.version import PublishedVersion, Subject


@dataclass(frozen=True)
class ClipDraw:
    """Frames drawn from one subject: `frames[0]` = t, `frames[1]` = t+Δ, then context frames in order of time."""

    subject: Subject
    frames: tuple[int, ...]


@dataclass(frozen=True)
class BatchDraw:
    """What one step trains on."""

    step: int
    pairs: tuple[ClipDraw, ...]
    singles: tuple[ClipDraw, ...]


class TransitionSampler:
    """Draws pairs and singles of a version's training split.

    Raises:
        UserError: the split has no subject of at least two frames that the configuration asks for.
    """

    def __init__(self, version: PublishedVersion, config: DataConfig, seed: int) -> None:
        self.config = config
        self._seed = seed
        # One frame holds no transition.
        usable = [subject for subject in version.subjects("train") if subject.num_frames >= 2]
        self._pairs = [subject for subject in usable if subject.kind == "pair"]
        self._singles = [subject for subject in usable if subject.kind != "pair"]
        self.pairs_per_batch = min(config.pairs_per_batch, len(self._pairs))
        self.singles_per_batch = min(config.singles_per_batch, len(self._singles))
        if self.pairs_per_batch + self.singles_per_batch == 0:
            raise UserError(
                f"Nothing to train on: {version.describe()}; pairs_per_batch is {config.pairs_per_batch}, "
                f"singles_per_batch is {config.singles_per_batch}."
            )

    def draw(self, step: int) -> BatchDraw:
        """The batch of a step (0, 1, 2, …)."""
        pairs = self._pick(self._pairs, self.pairs_per_batch, step, source=0)
        singles = self._pick(self._singles, self.singles_per_batch, step, source=1)
        rng = np.random.default_rng([self._seed, step, 2])
        return BatchDraw(
            step,
            tuple(self._clip(subject, self.config.context_frames, rng) for subject in pairs),
            tuple(self._clip(subject, 0, rng) for subject in singles),
        )

    def _pick(self, subjects: Sequence[Subject], number: int, step: int, source: int) -> list[Subject]:
        if number == 0:
            return []
        epoch, batch = divmod(step, len(subjects) // number)
        order = np.random.default_rng([self._seed, epoch, source]).permutation(len(subjects))
        return [subjects[i] for i in order[batch * number : (batch + 1) * number]]

    def _clip(self, subject: Subject, num_context: int, rng: np.random.Generator) -> ClipDraw:
        last = subject.num_frames - 1
        horizon = horizon_frames(rng.uniform(*self.config.horizon_seconds), subject.fps, last)
        t = int(rng.integers(last - horizon + 1))
        edges = np.linspace(0, subject.num_frames, num_context + 1)
        context = (min(last, math.floor(rng.uniform(*edge))) for edge in pairwise(edges))
        return ClipDraw(subject, (t, t + horizon, *context))


def horizon_frames(seconds: float, fps: float, last: int) -> int:
    """Frames in a horizon Δ of so many seconds: at least 1, at most `last`."""
    return min(max(1, round(seconds * fps)), last)
