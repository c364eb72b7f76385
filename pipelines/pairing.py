"""Which demonstrations belong together: halves of pairs, halves whose partner is missing, single clips."""

from collections.abc import Iterable
from dataclasses import dataclass
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
    ordered = sorted(demonstrations, key=lambda d: d.demonstration_id)
    halves: dict[str, dict[str, D]] = {"human": {}, "robot": {}}
    for d in reversed(ordered):
        if d.pair_key is not None:
            halves[d.embodiment][d.pair_key] = d
    humans, robots = halves["human"], halves["robot"]
    complete = humans.keys() & robots.keys()
    missing_half, singles = [], []
    for d in ordered:
        if d.pair_key is None:
            singles.append(d)
        elif d.pair_key not in complete:
            missing_half.append(d)
        elif d is not halves[d.embodiment][d.pair_key]:
            singles.append(d)
    return Pairing([Pair(humans[key], robots[key]) for key in sorted(complete)], missing_half, singles)
