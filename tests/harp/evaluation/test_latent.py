"""Agreement and retrieval of latent actions against loops over pairs, transitions and codes."""

import numpy as np
import pytest

from harp.evaluation.latent import Codebook, LatentAlignment, compare_latents, latent_features

ROWS = np.random.default_rng(0).normal(size=(6, 3))
CODEBOOK = Codebook(ROWS)


def codes(seed: int, pairs: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 6, (pairs, 4, 2))


def test_agreement_equals_loops():
    human, robot = codes(1), codes(2)
    robot[:, :2] = human[:, :2]
    result = compare_latents(human, robot, CODEBOOK)

    def agreement(i, j):
        places = [(m, q) for m in range(4) for q in range(2)]
        return 100 * sum(human[i][place] == robot[j][place] for place in places) / len(places)

    for i in range(9):
        others = [agreement(i, j) for j in range(9) if j != i] + [agreement(j, i) for j in range(9) if j != i]
        assert result.agreement[i] == pytest.approx(agreement(i, i))
        assert result.other_agreement[i] == pytest.approx(np.mean(others))
    over_time = [
        human_or_robot[i][m, q] == human_or_robot[i][n, q]
        for human_or_robot in (human, robot)
        for i in range(9)
        for m in range(4)
        for n in range(4)
        for q in range(2)
        if m != n
    ]
    assert result.agreement_over_time == pytest.approx(100 * np.mean(over_time))
    every_other = [agreement(i, j) for i in range(9) for j in range(9) if i != j]
    true = [agreement(i, i) for i in range(9)]
    assert result.gap.mean == pytest.approx(np.mean(true) - np.mean(every_other))


def test_equal_codes_retrieve_perfectly_and_unlike_pairs_stay_apart():
    result = compare_latents(codes(1), codes(1), CODEBOOK)
    assert result.retrieval.recall_at_1 == 100
    assert result.agreement.mean() == 100
    assert result.gap.low > 50


def test_codes_of_the_embodiment_alone_have_no_gap_and_retrieve_nothing():
    result = compare_latents(np.full((9, 4, 2), 3), np.full((9, 4, 2), 5), CODEBOOK)
    assert result.gap.mean == 0
    assert result.retrieval.recall_at_1 == 0
    assert result.usage == pytest.approx(2 / 6)
    assert result.perplexity == pytest.approx(2)


def test_features_are_code_vectors_in_order_of_time():
    some = codes(3, pairs=2)
    expected = np.concatenate([ROWS[code] for transition in some[1] for code in transition])
    np.testing.assert_allclose(latent_features(some, CODEBOOK)[1], expected / np.linalg.norm(expected))


def test_features_of_residual_codes_are_sums_up_to_each_query():
    rows = np.random.default_rng(1).normal(size=(12, 3))
    codebook, some = Codebook(rows, books=2), codes(3, pairs=2)
    expected = np.concatenate([v for a, b in some[1] for v in (rows[a], rows[a] + rows[6 + b])])
    np.testing.assert_allclose(latent_features(some, codebook)[1], expected / np.linalg.norm(expected))
    same = np.full((9, 4, 2), 3)
    assert compare_latents(same, same, codebook).perplexity == pytest.approx(2), (
        "the same code of two books is not the same"
    )


def test_reads_what_it_wrote():
    result = compare_latents(codes(1), codes(2), CODEBOOK)
    assert LatentAlignment.from_json(result.to_json()).to_json() == result.to_json()
