"""Splits and grouping: by content, stable when subjects come and go."""

import dataclasses
from typing import Any

import pytest

from data_schemas.errors import UserError
from pipelines.shards.stage import ShardConfig, Subject, shard_items
from pipelines.shards.subjects import bucket, split_of


def copies(subject: Subject, number: int, **changes: Any) -> list[Subject]:
    """Subjects that differ in id and pair key."""
    made = []
    for i in range(number):
        fields: dict[str, Any] = {"pair_key": f"key{i}", **changes}
        sides: dict[str, Any] = {
            side: clip
            and dataclasses.replace(
                clip,
                demonstration=dataclasses.replace(clip.demonstration, **fields),
            )
            for side, clip in (("human", subject.human), ("robot", subject.robot))
        }
        made.append(dataclasses.replace(subject, subject_id=f"{i:016x}", **sides))
    return made


def test_the_held_out_share_is_what_was_asked_for(subjects: list[Subject]) -> None:
    pairs = copies(subjects[0], 4000)
    share = sum(split_of(pair, 0.2) == "held_out" for pair in pairs) / len(pairs)
    assert share == pytest.approx(0.2, abs=0.02)
    assert {split_of(pair, 0.0) for pair in pairs} == {"train"}
    assert {split_of(pair, 1.0) for pair in pairs} == {"held_out"}
    # A larger fraction holds out the same pairs and more.
    assert all(split_of(p, 0.4) == "held_out" for p in pairs if split_of(p, 0.2) == "held_out")


def test_all_cameras_of_a_pair_share_the_split(subjects: list[Subject]) -> None:
    pairs = copies(subjects[0], 50, pair_key="scene7")
    assert len({split_of(pair, 0.5) for pair in pairs}) == 1


def test_singles_train_unless_their_pair_is_held_out(subjects: list[Subject]) -> None:
    assert {split_of(single, 1.0) for single in copies(subjects[3], 20, pair_key=None)} == {"train"}
    pairs, widows = copies(subjects[0], 100), copies(subjects[3], 100)
    assert [split_of(p, 0.5) for p in pairs] == [split_of(w, 0.5) for w in widows]


def test_shards_hold_every_subject_once(subjects: list[Subject]) -> None:
    pairs = copies(subjects[0], 300)
    items = shard_items([*pairs, *subjects[3:]], ShardConfig(subjects_per_shard=16, held_out_fraction=0.3))
    ids = [subject.subject_id for item in items for subject in item.payload.subjects]
    assert sorted(ids) == sorted(s.subject_id for s in [*pairs, *subjects[3:]])
    assert max(len(item.payload.subjects) for item in items) <= 16
    for item in items:
        assert {split_of(s, 0.3) for s in item.payload.subjects} == {item.payload.split}
        assert {s.kind for s in item.payload.subjects} == {item.payload.kind}
    assert len({item.item_id for item in items}) == len(items)


def test_grouping_does_not_depend_on_the_order(subjects: list[Subject]) -> None:
    pairs = copies(subjects[0], 100)
    config = ShardConfig()
    assert [i.item_id for i in shard_items(pairs, config)] == [
        i.item_id for i in shard_items(pairs[::-1], config)
    ]


def test_another_subject_changes_one_bucket_only(subjects: list[Subject]) -> None:
    pairs = copies(subjects[0], 500)
    fills = []
    for number in (100, 250, 499):
        before, after = buckets(pairs[:number]), buckets(pairs[: number + 1])
        assert len(before - after) <= 1
        assert len(after - before) <= 2
        fills.append(number / len(before) / 16)
    assert sum(fills) / len(fills) > 0.5


def buckets(pairs: list[Subject]) -> set[tuple[str, ...]]:
    return {tuple(subject.subject_id for subject in group) for group in bucket(pairs, 16)}


def test_names_that_cannot_name_a_folder_are_refused(subjects: list[Subject]) -> None:
    for name in ("../escape", "a/b", "", ".hidden", "with space"):
        with pytest.raises(UserError, match="cannot name a file"):
            shard_items(copies(subjects[0], 1, dataset=name), ShardConfig())
