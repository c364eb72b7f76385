"""Seeds put together against plain numpy, and the text that shows them."""

import numpy as np
import pytest

from benchmarks.representation.summary import comparisons, markdown, spread, summarize, summarize_set
from harp.evaluation.latent import Codebook, compare_latents
from harp.evaluation.results import Evaluation
from harp.evaluation.retrieval import retrieve


def evaluation(noise: float, seed: int, has_latents: bool = True) -> Evaluation:
    rng = np.random.default_rng(seed)
    human = np.random.default_rng(99).normal(size=(40, 6))
    rows = {"unadapted": retrieve(human, human + 3 * np.random.default_rng(98).normal(size=human.shape))}
    rows["stage 1"] = retrieve(human, human + noise * rng.normal(size=human.shape))
    rows["ridge"] = retrieve(human, human + np.random.default_rng(97).normal(size=human.shape))
    codes = rng.integers(0, 4, (2, 40, 3, 2))
    latent = {
        name: compare_latents(codes[0], codes[1], Codebook(rng.normal(size=(4, 3))))
        for name in ("unadapted", "stage 1")
    }
    return Evaluation(str(seed), "v", 40, 8, 1.0, rows, latent if has_latents else {})


@pytest.fixture(scope="module")
def runs() -> dict[str, list[Evaluation]]:
    return {
        "hr": [evaluation(2.0, seed, has_latents=False) for seed in range(3)],
        "harp-srpd": [evaluation(0.4, seed) for seed in range(3)],
    }


def test_mean_and_deviation_are_over_seeds_and_the_interval_over_pairs(runs):
    summary = summarize(runs["harp-srpd"])
    values = [each.rows["stage 1"].recall_at_1 for each in runs["harp-srpd"]]
    assert summary.recall_at_1.mean == pytest.approx(np.mean(values))
    assert summary.recall_at_1.deviation == pytest.approx(np.std(values, ddof=1))
    assert summary.interval.mean == pytest.approx(np.mean(values))
    assert summary.interval.low < np.mean(values) < summary.interval.high
    assert spread([5.0]).text() == "5.0"


def test_rows_without_learning_come_first_and_once(runs):
    rows = summarize_set(runs)
    assert list(rows) == ["unadapted", "ridge", "hr", "harp-srpd"]
    assert rows["unadapted"].recall_at_1.deviation is None
    assert [row.seeds for row in rows.values()] == [None, None, 3, 3]
    assert rows["hr"].gap is None
    assert rows["harp-srpd"].gap is not None
    assert rows["unadapted"].gap is None  # those codes belong to one run's model


def test_comparisons_follow_the_papers_order_and_meet_ridge(runs):
    rows = summarize_set(runs)
    found = {(one, other): estimate for one, other, estimate in comparisons(rows)}
    assert list(found) == [("hr", "unadapted"), ("harp-srpd", "hr"), ("hr", "ridge"), ("harp-srpd", "ridge")]
    gained = rows["harp-srpd"].recall_at_1.mean - rows["ridge"].recall_at_1.mean
    assert found["harp-srpd", "ridge"].mean == pytest.approx(gained)


def test_the_table_shows_the_papers_figures_beside_ours(runs):
    text = markdown("Held-out", summarize_set(runs))
    (line,) = (line for line in text.splitlines() if line.startswith("| harp-srpd |"))
    assert "78.50" in line
    assert "36.29" in line
    assert len(line.split("|")) == len(text.splitlines()[2].split("|"))
