"""Shares of a mixture against exact fractions; sources and fractions of pairs select what they say."""

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from data_schemas.errors import UserError
from data_schemas.identity import content_id
from harp.data.config import DataConfig, SourceConfig
from harp.data.mixture import Mixture, Pool, largest_shares, quotas
from harp.data.sampling import TransitionSampler
from harp.data.sources import split_pairs
from harp.data.version import PublishedVersion, Subject
from tests.harp.tiny_version import write_version


@pytest.mark.parametrize("seed", range(8))
def test_quotas_add_up_grow_and_stay_close_to_the_exact_shares(seed):
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.01, 5, rng.integers(1, 6)).tolist()
    number = int(rng.integers(1, 20))
    taken = np.array([quotas(step * number, weights) for step in range(300)])
    exact = np.arange(300)[:, None] * number * np.array(weights) / sum(weights)
    assert (taken.sum(1) == np.arange(300) * number).all()
    shares = np.diff(taken, axis=0)
    assert shares.min() >= 0
    assert (shares.max(0) <= largest_shares(number, weights)).all()
    assert np.abs(taken - exact).max() <= len(weights) / 2


@pytest.mark.parametrize(
    ("weights", "number"),
    [([0.7, 0.3], 10), ([3, 1], 64), ([0.7, 0.2, 0.1], 20), ([0.1] * 7, 13), ([3, 2], 6), ([1, 1, 1], 10)],
)
def test_the_largest_share_is_the_largest_there_is(weights, number):
    """Found by looking at every window; one more would refuse pools that are large enough."""
    taken = np.array([quotas(places, weights) for places in range(400 + number)])
    assert largest_shares(number, weights) == (taken[number:] - taken[:-number]).max(0).tolist()


def test_a_pool_of_exactly_its_share_is_enough():
    mixture = Mixture([Pool("a", 0.7, range(70)), Pool("b", 0.3, range(100, 103))], 10, seed=0, stream=0)
    for step in range(20):
        drawn = Counter(mixture.draw(step))
        assert set(drawn.values()) == {1}
        assert sum(member >= 100 for member in drawn) == 3


@pytest.mark.parametrize(
    ("percent", "number"), [(7, 100), (55, 100), (29, 100), (30, 10), (25, 419), (5, 421)]
)
def test_the_fraction_of_pairs_is_rounded_up_as_it_is_written(lake, percent, number):
    pair = PublishedVersion.open(lake[0]).subjects("train", "pair")[0].segments[0]
    pairs = [Subject((dataclasses.replace(pair, subject_id=str(i)),)) for i in range(number)]
    used, left = split_pairs(pairs, percent / 100)
    assert (len(used), len(used) + len(left)) == (-(-percent * number // 100), number)


def test_a_pool_gives_all_of_its_members_before_one_comes_again():
    pools = [Pool("a", 2, range(10)), Pool("b", 1, range(100, 105)), Pool("none", 9, range(0))]
    mixture = Mixture(pools, 3, seed=0, stream=0)
    seen = Counter()
    for step in range(5):
        drawn = mixture.draw(step)
        assert len(set(drawn)) == 3
        seen.update(drawn)
    assert set(seen.values()) == {1}
    assert sorted(seen) == [*range(10), *range(100, 105)]
    again = Mixture(pools, 3, seed=0, stream=0)
    assert [again.draw(s) for s in (70, 3)] == [mixture.draw(s) for s in (70, 3)]
    assert {tuple(mixture.draw(s)) for s in range(5)} != {tuple(mixture.draw(s)) for s in range(5, 10)}


def test_a_pool_too_small_for_its_weight_is_one_sentence():
    with pytest.raises(UserError, match="b has 2 to draw from, its weight asks for up to 6 in a batch"):
        Mixture([Pool("a", 1, range(90)), Pool("b", 1, range(2))], 12, 0, 0)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """One lake with two versions: (folder of the first, id of the second)."""
    root = tmp_path_factory.mktemp("lake")
    first = write_version(root, pairs=20, held_out=1, humans=4, robots=4, frames=3, fps=2)
    other = write_version(root / "other", pairs=10, held_out=0, humans=6, frames=3, fps=2, shards=1)
    # The second version moves into the first one's lake, with subjects and shards of its own.
    return first, _adopt(root, other)


def _adopt(root, folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from data_schemas.identity import file_sha256

    rows = pq.read_table(folder / "index.parquet")
    records = [
        row
        | {
            "shard": row["shard"].replace("part", "other"),
            "subject_id": content_id("other", row["subject_id"]),
            "dataset": "other",
        }
        for row in rows.to_pylist()
    ]
    target = root / "versions" / "other"
    target.mkdir()
    pq.write_table(pa.Table.from_pylist(records, schema=rows.schema), target / "index.parquet")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"version_id": "other", "index_sha256": file_sha256(target / "index.parquet")}
    for shard in manifest["shards"]:
        moved = shard["path"].replace("part", "other")
        (folder.parents[1] / shard["path"]).rename(root / moved)
        shard["path"] = moved
    (target / "manifest.json").write_text(json.dumps(manifest))
    return "other"


def test_long_run_shares_over_versions_and_kinds_equal_the_weights(lake):
    folder, other = lake
    sources = (
        SourceConfig(weight=3),
        SourceConfig(version=other, kinds=("pair",), weight=1),
        SourceConfig(version=other, kinds=("human",), weight=2),
    )
    config = DataConfig(pairs_per_batch=6, singles_per_batch=5, sources=sources)
    version = PublishedVersion.open(folder, config.other_versions)
    sampler = TransitionSampler(version, config, 0)
    pairs, singles = Counter(), Counter()
    steps = 400
    for step in range(steps):
        draw = sampler.draw(step)
        ids = [clip.subject.subject_id for clip in draw.pairs]
        assert len(set(ids)) == 6
        pairs.update(clip.subject.segments[0].dataset for clip in draw.pairs)
        singles.update(clip.subject.segments[0].dataset for clip in draw.singles)
    assert pairs["discs"] == pytest.approx(6 * steps * 3 / 4, abs=1)
    assert singles["discs"] == pytest.approx(5 * steps * 3 / 5, abs=1)
    assert sum(pairs.values()) == 6 * steps
    assert sum(singles.values()) == 5 * steps


def test_the_reader_finds_samples_of_all_versions(lake):
    from harp.data.shards import ShardReader

    folder, other = lake
    version = PublishedVersion.open(folder, [other])
    reader = ShardReader(version)
    for part in version.parts:
        sample = part.samples[0]
        assert reader.frames(sample, "human", [0]).shape == (1, 224, 224, 3)


def test_sources_that_do_not_fit_are_one_sentence(lake):
    folder, other = lake
    version = PublishedVersion.open(folder, [other])

    def sampler(*sources):
        return TransitionSampler(version, DataConfig(pairs_per_batch=2, sources=sources), 0)

    with pytest.raises(UserError, match=r"Source 2 .*\(pair of nuts\) selects no training subject"):
        sampler(SourceConfig(), SourceConfig(datasets=("nuts",), kinds=("pair",)))
    with pytest.raises(UserError, match=r"Two of data\.sources select the same subject"):
        sampler(SourceConfig(), SourceConfig(kinds=("pair",)))
    with pytest.raises(UserError, match="Version nuts was not opened beside version"):
        sampler(SourceConfig(version="nuts"))
    held_out = version.subjects("held_out")[0].segments
    moved = tuple(dataclasses.replace(segment, split="train") for segment in held_out)
    version = dataclasses.replace(version, others=(dataclasses.replace(version.others[0], samples=moved),))
    with pytest.raises(UserError, match=r"which version .* holds out for evaluation"):
        sampler(SourceConfig(version=other))
    with pytest.raises(ValidationError, match="names a version by its id"):
        SourceConfig(version="latest")


def test_paired_fraction_is_nested_and_leaves_the_rest_out(lake):
    version = PublishedVersion.open(lake[0])

    def drawn(**change):
        config = DataConfig(pairs_per_batch=1, singles_per_batch=1, **change)
        sampler = TransitionSampler(version, config, 0)
        draws = [sampler.draw(step) for step in range(100)]
        return (
            {d.pairs[0].subject.subject_id for d in draws},
            {(d.singles[0].subject.subject_id, d.singles[0].kind) for d in draws},
        )

    all_pairs, singles = drawn()
    quarter, quarter_singles = drawn(paired_fraction=0.25)
    twentieth, _ = drawn(paired_fraction=0.05)
    assert (len(all_pairs), len(quarter), len(twentieth)) == (20, 5, 1)
    assert twentieth < quarter < all_pairs
    assert quarter_singles == singles
    _, halves = drawn(paired_fraction=0.25, unused_pairs="unpaired")
    left = all_pairs - quarter
    assert halves == singles | {(pair, kind) for pair in left for kind in ("human", "robot")}
