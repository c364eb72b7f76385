"""Which demonstrations belong together: halves of pairs, halves whose partner is missing, single clips."""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, NamedTuple, Protocol, TypeVar

from data_schemas.identity import pair_id


class Half(Protocol):
    """What pairing looks at: a `Demonstration`, or its outline."""

    @property
    def demonstration_id(self) -> str: ...
    @property
    def embodiment(self) -> str: ...
    @property
    def pair_key(self) -> str | None: ...


D = TypeVar("D", bound=Half)


class Pair(NamedTuple, Generic[D]):
    """Both halves of one pair."""

    human: D
    robot: D

    @property
    def pair_id(self) -> str:
        return pair_id(self.human.demonstration_id, self.robot.demonstration_id)

    @property
    def sides(self) -> list[D]:
        return [self.human, self.robot]


@dataclass(frozen=True)
class Pairing(Generic[D]):
    """A data set's demonstrations, sorted into pairs and the rest; every demonstration is in exactly one place."""

    pairs: list[Pair[D]]
    missing_half: list[D]
    """Meant to be paired, but the partner is absent or could not be read."""
    singles: list[D]


def pair_up(demonstrations: Iterable[D]) -> Pairing[D]:
    """Join by `pair_key`. Of several clips of one embodiment under one key the first by id is the half.

    The order of the result depends on the demonstrations only, not on the order they come in.
    """
    by_id = attrgetter("demonstration_id")
    humans: dict[str, D] = {}
    robots: dict[str, D] = {}
    singles, others = [], []
    for d in sorted(demonstrations, key=by_id):
        halves = humans if d.embodiment == "human" else robots
        if d.pair_key is None:
            singles.append(d)
        elif halves.setdefault(d.pair_key, d) is not d:
            others.append(d)
    complete = humans.keys() & robots.keys()
    missing_half = [d for d in (*humans.values(), *robots.values(), *others) if d.pair_key not in complete]
    singles += [d for d in others if d.pair_key in complete]
    return Pairing(
        [Pair(humans[key], robots[key]) for key in sorted(complete)],
        sorted(missing_half, key=by_id),
        sorted(singles, key=by_id),
    )
