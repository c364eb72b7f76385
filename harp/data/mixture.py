"""Sharing out the places of batches among weighted pools, as a pure function of the step.

Of the first S places, pool i of weight w_i has taken a fixed number, the *quota*: of the S places that the pools before
it left, the share w_i / (w_i + … + w_m), rounded. Quotas grow with S, add up to S, and stay within m / 2 places of the
exact share, so long runs have the mixture that was asked for whatever the batch size, and resuming needs no counters.

Within a pool every epoch is a new permutation. An epoch ends before a batch would need more members than are left,
because a pair that appears twice in one batch would be its own negative.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np

from data_schemas.errors import UserError

Member = TypeVar("Member")


@dataclass(frozen=True)
class Pool(Generic[Member]):
    """What one source has to draw from."""

    name: str
    weight: float
    members: Sequence[Member]


class Mixture(Generic[Member]):
    """Draws `number` members a step from pools.

    Args:
        number: places of a batch; fewer where the pools hold fewer in all.
        stream: tells this mixture's random numbers from others of the same seed.

    Raises:
        UserError: a pool's share of a batch is more than it holds.
    """

    def __init__(self, pools: Sequence[Pool[Member]], number: int, seed: int, stream: int) -> None:
        self._pools = [pool for pool in pools if pool.members]
        self.number = min(number, sum(len(pool.members) for pool in self._pools))
        self._weights = [pool.weight for pool in self._pools]
        self._steps_per_epoch = []
        for pool, most in zip(self._pools, largest_shares(self.number, self._weights), strict=True):
            if most > len(pool.members):
                raise UserError(
                    f"{pool.name} has {len(pool.members)} to draw from, its weight asks for up to {most} in a "
                    "batch; lower its weight or the batch size."
                )
            self._steps_per_epoch.append(len(pool.members) // max(most, 1))
        # A few epochs, since the pools are at different ones and threads prepare several steps at once.
        self._order = lru_cache(4 * max(1, len(self._pools)))(
            lambda i, epoch: np.random.default_rng([seed, epoch, stream, i]).permutation(
                len(self._pools[i].members)
            )
        )

    def draw(self, step: int) -> list[Member]:
        """Members of a step's batch, pool by pool."""
        if not self.number:
            return []
        before, after = (quotas(n * self.number, self._weights) for n in (step, step + 1))
        drawn = []
        for i, pool in enumerate(self._pools):
            epoch = step // self._steps_per_epoch[i]
            start = quotas(epoch * self._steps_per_epoch[i] * self.number, self._weights)[i]
            places = self._order(i, epoch)[before[i] - start : after[i] - start]
            drawn += [pool.members[place] for place in places]
        return drawn


def quotas(places: int, weights: Sequence[float]) -> list[int]:
    """How many of the first `places` places each weight has taken."""
    taken, left = [], places
    for share in _shares_of_rest(weights):
        taken.append(math.floor(left * share + Fraction(1, 2)))
        left -= taken[-1]
    return taken


def largest_shares(number: int, weights: Sequence[float]) -> list[int]:
    """The most that each weight can take of any `number` consecutive places."""
    most, left = [], number
    for share in _shares_of_rest(weights):
        most.append(min(left, math.ceil(left * share)))
        left = min(left, math.ceil(left * (1 - share)))
    return most


def _shares_of_rest(weights: Sequence[float]) -> list[Fraction]:
    exact = [as_written(weight) for weight in weights]
    return [weight / sum(exact[i:]) for i, weight in enumerate(exact)]


def as_written(number: float) -> Fraction:
    """A number as it was written: 0.07 is 7/100, whose hundredfold is 7. As a float it would be a little more, rounded up 8."""
    return Fraction(str(number))
