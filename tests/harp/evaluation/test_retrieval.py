"""Retrieval against a brute-force ranking; baselines against what they must reach."""

from itertools import combinations

import numpy as np
import pytest

from harp.evaluation.baselines import mean_shift, ridge
from harp.evaluation.features import mean_colour
from harp.evaluation.retrieval import retrieve


def test_equals_brute_force():
    rng = np.random.default_rng(0)
    human = rng.normal(size=(12, 5))
    robot = human + 0.8 * rng.normal(size=(12, 5))
    result = retrieve(human, robot)

    def distance(a, b):
        return 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    for direction, queries, gallery in (
        (result.human_to_robot, human, robot),
        (result.robot_to_human, robot, human),
    ):
        ranks = []
        for i, query in enumerate(queries):
            order = sorted(range(12), key=lambda j: distance(query, gallery[j]))
            ranks.append(order.index(i) + 1)
        assert direction.recall_at_1 == pytest.approx(100 * np.mean([r == 1 for r in ranks]))
        assert direction.recall_at_5 == pytest.approx(100 * np.mean([r <= 5 for r in ranks]))
        assert direction.mrr == pytest.approx(np.mean([1 / r for r in ranks]))
    paired = [distance(human[i], robot[i]) for i in range(12)]
    other = [distance(human[i], robot[j]) for i in range(12) for j in range(12) if i != j]
    np.testing.assert_allclose(result.paired_distances, paired)
    assert result.other_distance == pytest.approx(np.mean(other))


def test_recall_among_fewer_candidates_is_that_of_all_choices_of_them():
    rng = np.random.default_rng(1)
    human = rng.normal(size=(7, 3))
    robot = human + 0.7 * rng.normal(size=(7, 3))
    result = retrieve(human, robot)
    assert result.recall_at_1 < 100
    hits = []
    for i in range(7):
        for others in combinations([j for j in range(7) if j != i], 3):
            chosen = [i, *others]
            some = retrieve(human[chosen], robot[chosen])
            hits += [some.human_to_robot.ranks[0] == 1, some.robot_to_human.ranks[0] == 1]
    assert result.recall_at_1_among(4) == pytest.approx(100 * np.mean(hits))
    assert result.recall_at_1_among(7) == pytest.approx(result.recall_at_1)
    assert result.recall_at_1_among(1) == 100
    with pytest.raises(ValueError, match="8 candidates of 7 pairs"):
        result.recall_at_1_among(8)


def test_constant_features_score_nothing():
    result = retrieve(np.ones((9, 4)), np.ones((9, 4)))
    assert result.recall_at_1 == 0
    assert result.mrr == pytest.approx(1 / 9)


def test_mean_shift_undoes_a_shift():
    rng = np.random.default_rng(0)
    human = rng.normal(size=(40, 6))
    robot = human + 3.0
    np.testing.assert_allclose(mean_shift(human[:30], robot[:30], robot[30:]), human[30:])


def test_ridge_undoes_a_linear_map_that_a_shift_cannot():
    rng = np.random.default_rng(0)
    human = rng.normal(size=(200, 6))
    robot = (human - 0.5) @ (np.eye(6) + 0.4 * rng.normal(size=(6, 6)))
    mapped = ridge(human[:150], robot[:150], robot[150:])
    assert np.abs(mapped - human[150:]).max() < 0.1
    assert np.abs(mean_shift(human[:150], robot[:150], robot[150:]) - human[150:]).max() > 0.3


def test_ridge_does_not_overfit_where_there_are_more_dimensions_than_pairs():
    rng = np.random.default_rng(0)
    human = rng.normal(size=(60, 100))
    robot = human + 0.3 * rng.normal(size=(60, 100)) + 1.0
    mapped = ridge(human[:30], robot[:30], robot[30:])
    shifted = mean_shift(human[:30], robot[:30], robot[30:])
    error, reference = (np.square(x - human[30:]).mean() for x in (mapped, shifted))
    assert error < 1.1 * reference


def test_mean_colour_is_a_grid_of_cells():
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    frames[:, :2, 2:4] = (90, 0, 30)  # cell (0, 1)
    cells = mean_colour(frames)
    assert cells.shape == (192,)
    np.testing.assert_allclose(cells[3:6] - cells[0], (90, 0, 30))
    assert abs(cells.mean()) < 1e-9
