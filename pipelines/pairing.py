"""Which demonstrations belong together: halves of pairs, halves whose partner is missing, single clips."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

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


@dataclass(frozen=True)
class Pair(Generic[D]):
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
    by_key: dict[str, list[D]] = {}
    singles = []
    for demonstration in ordered:
        if demonstration.pair_key is None:
            singles.append(demonstration)
        else:
            by_key.setdefault(demonstration.pair_key, []).append(demonstration)
    pairs, missing_half = [], []
    for _, group in sorted(by_key.items()):
        human = next((d for d in group if d.embodiment == "human"), None)
        robot = next((d for d in group if d.embodiment == "robot"), None)
        if human is not None and robot is not None:
            pairs.append(Pair(human, robot))
            taken = {human.demonstration_id, robot.demonstration_id}
            singles.extend(d for d in group if d.demonstration_id not in taken)
        else:
            missing_half.extend(group)
    return Pairing(pairs, missing_half, singles)
