import dataclasses
from typing import Any

import numpy as np

from data_schemas.demonstrations import Demonstration
from pipelines.pairing import pair_up


def demonstration(name: str, embodiment: str, pair_key: str | None) -> Demonstration:
    values: dict[str, Any] = {}
    for field in dataclasses.fields(Demonstration):
        empty = np.zeros((0, 7) if field.name == "effector_poses" else 0)
        values[field.name] = empty if field.name in Demonstration.arrays() else ""
    values |= {"demonstration_id": name, "embodiment": embodiment, "pair_key": pair_key}
    return Demonstration(**values)


def test_pairs_halves_and_singles_are_told_apart():
    clips = [
        demonstration("h1", "human", "a"),
        demonstration("r1", "robot", "a"),
        demonstration("h2", "human", "b"),
        demonstration("r3", "robot", None),
    ]
    pairing = pair_up(clips)
    assert [(p.human.demonstration_id, p.robot.demonstration_id) for p in pairing.pairs] == [("h1", "r1")]
    assert [d.demonstration_id for d in pairing.missing_half] == ["h2"]
    assert [d.demonstration_id for d in pairing.singles] == ["r3"]


def test_every_demonstration_is_in_exactly_one_place_whatever_the_order():
    clips = [
        demonstration(f"{e}{i}", e, f"k{i % 3}" if i % 2 else None)
        for i in range(9)
        for e in ("human", "robot")
    ]
    first, second = pair_up(clips), pair_up(clips[::-1])
    for pairing in (first, second):
        halves = [d.demonstration_id for p in pairing.pairs for d in (p.human, p.robot)]
        rest = [d.demonstration_id for d in (*pairing.missing_half, *pairing.singles)]
        assert sorted(halves + rest) == sorted(d.demonstration_id for d in clips)
    assert [p.pair_id for p in first.pairs] == [p.pair_id for p in second.pairs]
