"""Seeds of a row are put together as the table says, on results made by hand."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.policy.rows import ROWS
from benchmarks.policy.table3 import Settings
from benchmarks.policy.table3_summary import RowKey, draw, markdown, summarize
from harp.evaluation.closed_loop.results import ClosedLoopResult, TrialResult
from harp.evaluation.intervals import wilson

TRIALS = 20


def result(press: int, push: int) -> ClosedLoopResult:
    """The first `press` and `push` trials succeed."""
    trials = [
        TrialResult(task, i, 0, i < successes, 30, 3, 1.0)
        for task, successes in (("press", press), ("push", push))
        for i in range(TRIALS)
    ]
    return ClosedLoopResult("tabletop", "policy@1", 0, tuple(trials))


@pytest.fixture
def results() -> dict[RowKey, ClosedLoopResult]:
    successes = {
        ("harp", 5): [(4, 0), (8, 0)],
        ("harp", 50): [(16, 10), (20, 14)],
        ("no-pretraining", 5): [(2, 0), (2, 0)],
        ("no-pretraining", 50): [(16, 4), (16, 4)],
        ("univla-style", 50): [(0, 0), (0, 0)],
    }
    return {
        RowKey(row, count, seed): result(*numbers)
        for (row, count), seeds in successes.items()
        for seed, numbers in enumerate(seeds)
    }


def test_means_spreads_and_differences(results: dict[RowKey, ClosedLoopResult]) -> None:
    rows = summarize(results)
    harp, none = rows["harp", 50], rows["no-pretraining", 50]
    assert (harp.tasks["press"].successes, harp.tasks["press"].trials) == (36, 2 * TRIALS)
    assert harp.seeds == (65.0, 85.0)
    interval = wilson(60, 80)
    assert harp.text() == f"75.0 ± {np.std([65, 85], ddof=1):.1f} [{interval.low:.1f}, {interval.high:.1f}]"
    difference = none.over(harp)
    assert difference.mean == pytest.approx(50.0 - 75.0)
    assert difference.low < difference.mean < difference.high < 0
    assert harp.over(harp).low == harp.over(harp).high == 0


def test_the_table_has_all_rows_and_the_curve_the_two_that_are_compared(
    results: dict[RowKey, ClosedLoopResult], tmp_path: Path
) -> None:
    rows = summarize(results)
    text = markdown(rows, "command")
    table, curve = text.split("| demonstrations a task |")
    (harp,) = [line for line in table.splitlines() if line.startswith("| harp |")]
    assert harp.split(" | ")[-1].removesuffix(" |") == "76.3"
    assert "| no-pretraining |" in table
    assert "| univla-style | 0.0 [0.0, 8.8] |" in table
    assert curve.splitlines()[0] == " harp | no-pretraining | harp less the last |"
    assert curve.splitlines()[2].startswith("| 5 | 15.0 ± ")
    draw(rows, tmp_path / "table3.png")
    assert (tmp_path / "table3.png").stat().st_size > 10_000


def test_every_row_differs_from_harp_in_what_it_is_named_for() -> None:
    harp = ROWS["harp"]
    different = {
        name: [part for part in ("stage1", "stage2", "stage3") if getattr(row, part) != getattr(harp, part)]
        for name, row in ROWS.items()
    }
    assert different == {
        "harp": [],
        "harp-l2": ["stage1"],
        "not-frozen": ["stage2"],
        "univla-style": ["stage1", "stage3"],
        "no-pretraining": ["stage2"],
        "oft-style": ["stage1", "stage2"],
    }


def test_seeds_take_the_runs_of_stage_1_in_turn(tmp_path: Path) -> None:
    settings = Settings(
        lake=tmp_path,
        demonstrations=tmp_path,
        out=tmp_path / "out",
        recipes=(),
        label_precision="fp32",
        changes=((), (), ()),
        tasks=(),
        trials=1,
        replan=None,
        stage1_seeds=2,
    )
    runs = [settings.stage1("harp-srpd", seed) for seed in range(4)]
    assert [run.name for run in runs] == ["seed0", "seed1", "seed0", "seed1"]
    later = [settings.run("stage2", RowKey("harp", 0, seed)) for seed in range(4)]
    assert len(set(later)) == 4, "stages 2 and 3 are repeated with every seed"
