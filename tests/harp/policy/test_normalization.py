import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from data_schemas.errors import UserError
from harp.policy.normalization import Normalization, Statistics
from harp.policy.normalization_files import choose, read_normalization, write_normalization
from tests.harp.policy.oft_statistics import oft_statistics

VALUES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 40), st.integers(1, 6)),
    elements=st.floats(-100, 100, allow_nan=False).map(lambda x: round(x, 3)),
)


@settings(max_examples=60, deadline=None)
@given(VALUES, st.randoms())
def test_round_trip_without_clipping(values, random):
    mask = [random.random() < 0.7 for _ in range(values.shape[1])]
    statistics = Statistics.of(values, mask)
    back = statistics.denormalize(statistics.normalize(values, clip=False))
    varies = (statistics.q01 != statistics.q99) | ~statistics.mask
    scale = np.maximum(1, np.abs(values).max())
    np.testing.assert_allclose(back[:, varies], values[:, varies], atol=1e-4 * scale)
    constant = ~varies
    assert np.allclose(back[:, constant], statistics.q01[constant], atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_clipped_values_lie_within_one_and_quantiles_at_its_ends(values):
    statistics = Statistics.of(values)
    normalized = statistics.normalize(values)
    assert (np.abs(normalized) <= 1).all()
    varies = statistics.q99 - statistics.q01 > 1e-2
    ends = statistics.normalize(np.stack([statistics.q01, statistics.q99]))
    np.testing.assert_allclose(
        ends[:, varies], np.array([[-1.0], [1.0]]) * np.ones((1, varies.sum())), atol=1e-5
    )


def test_numbers_of_the_published_formula():
    """OpenVLA-OFT's, element by element, and the authors' rule for CALVIN's proprioception."""
    statistics = Statistics.checked([-0.4, 0.0, 2.0], [0.6, 0.0, 2.0], [True, True, False])
    x = np.array([1.1, 0.3, 2.5])
    expected = 2 * (1.1 + 0.4) / (0.6 + 0.4 + 1e-8) - 1
    assert statistics.normalize(x).tolist() == pytest.approx([1.0, 0.0, 2.5])
    assert statistics.normalize(x, clip=False).tolist() == pytest.approx([expected, 0.0, 2.5])
    assert statistics.denormalize([-1.0, 0.7, 0.1]).tolist() == pytest.approx([-0.4, 0.0, 0.1], abs=1e-7)


def test_quantiles_are_of_all_steps():
    values = np.random.default_rng(0).normal(size=(1000, 2))
    statistics = Statistics.of(values)
    below = (values < statistics.q01).mean(0)
    above = (values > statistics.q99).mean(0)
    assert below == pytest.approx([0.01, 0.01], abs=1e-3)
    assert above == pytest.approx([0.01, 0.01], abs=1e-3)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (np.zeros((0, 3)), "at least one"),
        (np.array([[1.0, np.nan]]), "1 of 1 time steps"),
        (np.zeros(3), "vector"),
    ],
)
def test_bad_values(values, complaint):
    with pytest.raises(UserError, match=complaint):
        Statistics.of(values)


def test_wrong_dimension_names_both():
    with pytest.raises(ValueError, match=r"3 dimensions, found an array \(2,\)"):
        Statistics.of(np.random.default_rng(0).normal(size=(9, 3))).normalize(np.zeros(2))


def test_authors_file_round_trips_exactly(tmp_path):
    rng = np.random.default_rng(0)
    entry = Normalization(
        Statistics.of(rng.normal(size=(50, 7)), [True] * 6 + [False]), Statistics.of(rng.normal(size=(50, 5)))
    )
    path = tmp_path / "normalization.json"
    write_normalization(path, {"calvin": entry})
    assert set(json.loads(path.read_text())["calvin"]["action"]) == {"q01", "q99", "mask"}
    read = choose(read_normalization(tmp_path), None)
    assert read.proprioception is not None
    assert entry.proprioception is not None
    for mine, theirs in ((read.action, entry.action), (read.proprioception, entry.proprioception)):
        for name in ("q01", "q99", "mask"):
            assert np.array_equal(getattr(mine, name), getattr(theirs, name))


def test_openvla_oft_file(tmp_path):
    steps = np.random.default_rng(0).normal(size=(80, 7))
    statistics = Statistics.of(steps, [True] * 6 + [False])
    entry = oft_statistics({"action": (steps, statistics)}, num_trajectories=4)
    assert entry["num_transitions"] == 80
    (tmp_path / "dataset_statistics.json").write_text(json.dumps({"a": entry, "b": entry}))
    read = read_normalization(tmp_path)
    assert np.array_equal(choose(read, "b").action.q99, statistics.q99)
    assert read["a"].proprioception is None
    with pytest.raises(UserError, match="statistics of a, b; none was chosen"):
        choose(read, None)
    with pytest.raises(UserError, match="'c' is none of them"):
        choose(read, "c")


def test_a_policy_of_aloha_is_read_between_its_extremes(tmp_path):
    steps = np.random.default_rng(0).normal(size=(500, 14))
    entry = oft_statistics({name: (steps, Statistics.of(steps)) for name in ("action", "proprio")}, 4)
    (tmp_path / "dataset_statistics.json").write_text(json.dumps({"aloha": entry}))
    read = read_normalization(tmp_path, "extremes")["aloha"]
    assert read.proprioception is not None
    for statistics in (read.action, read.proprioception):
        np.testing.assert_allclose(statistics.denormalize(np.ones(14)), steps.max(0), rtol=1e-6)
        np.testing.assert_allclose(statistics.denormalize(-np.ones(14)), steps.min(0), rtol=1e-6)
    write_normalization(tmp_path / "normalization.json", {"aloha": read})
    with pytest.raises(UserError, match="'action' statistics with 'min' and 'max'"):
        read_normalization(tmp_path, "extremes")


def test_missing_mask_means_all_and_damage_is_one_sentence(tmp_path):
    path = tmp_path / "normalization.json"
    path.write_text(json.dumps({"x": {"action": {"q01": [0, 0], "q99": [1, 1]}}}))
    assert read_normalization(path)["x"].action.mask.all()
    for content, complaint in (
        ('{"x": {"action": {"q01": [0, 0], "q99": [1]}}}', "shapes"),
        ('{"x": {"action": {"q01": [2], "q99": [1]}}}', r"exceeds q99 in dimensions \[0\]"),
        ('{"x": {}}', "does not map"),
        ("[1", "does not map"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=complaint):
            read_normalization(path)
    with pytest.raises(UserError, match="neither"):
        read_normalization(_empty(tmp_path))


def _empty(folder):
    (folder / "empty").mkdir()
    return folder / "empty"
