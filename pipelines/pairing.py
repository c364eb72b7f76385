"""Which demonstrations belong together: halves of pairs, halves whose partner is missing, single clips."""

from collections.abc import Iterable
from dataclasses import dataclass

from data_schemas.demonstrations import Demonstration
from data_schemas.identity import pair_id


@dataclass(frozen=True)
class Pair:
    """Both halves of one pair."""

    human: Demonstration
    robot: Demonstration

    @property
    def pair_id(self) -> str:
        return pair_id(self.human.demonstration_id, self.robot.demonstration_id)


@dataclass(frozen=True)
class Pairing:
    """A data set's demonstrations, sorted into pairs and the rest; every demonstration is in exactly one place."""

    pairs: list[Pair]
    missing_half: list[Demonstration]
    """Meant to be paired, but the partner is absent or could not be read."""
    singles: list[Demonstration]


def pair_up(demonstrations: Iterable[Demonstration]) -> Pairing:
    """Join by `pair_key`. Of several clips of one embodiment under one key the first by id is the half.

    The order of the result depends on the demonstrations only, not on the order they come in.
    """
    ordered = sorted(demonstrations, key=lambda d: d.demonstration_id)
    by_key: dict[str, list[Demonstration]] = {}
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
