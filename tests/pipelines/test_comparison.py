"""Comparing two implementations, against differences put in by hand."""

import dataclasses

import numpy as np
import pytest

from data_schemas.cues import WristTrack
from data_schemas.errors import UserError
from pipelines.comparison import PROVENANCE, Tolerance, compare


def track(i: int) -> WristTrack:
    points = np.random.default_rng(i).uniform(0, 100, (10, 2)).astype(np.float32)
    points[3] = np.nan
    seen = ~np.isnan(points[:, 0])
    return WristTrack(f"d{i}", "a", points, seen.astype(np.float32), seen, ["found"] * 10)


@pytest.fixture
def rows() -> dict[str, WristTrack]:
    return {f"d{i}": track(i) for i in range(4)}


def moved(row: WristTrack, frame: int, by: float) -> WristTrack:
    points = row.points.copy()
    points[frame] += by
    return dataclasses.replace(row, points=points)


def column(result, name):
    return next(c for c in result.columns if c.column == name)


def test_equal_rows_agree_whatever_their_source(rows) -> None:
    other = {i: dataclasses.replace(row, source="b") for i, row in rows.items()}
    assert compare(rows, other, Tolerance()).passed


def test_a_difference_counts_beyond_its_tolerance(rows) -> None:
    other = rows | {"d2": moved(rows["d2"], 5, 1.5)}
    strict = compare(rows, other, Tolerance(1.0))
    points = column(strict, "points")
    assert (strict.passed, points.worst, points.values, points.agreeing) == (False, "d2", 80, 78)
    assert points.max_difference == pytest.approx(1.5, abs=1e-4)
    assert points.mean_difference == pytest.approx(3.0 / 72, abs=1e-4)  # two of 80 - 8 numbers
    assert compare(rows, other, Tolerance(0.0, {"points": 2.0})).passed
    assert compare(rows, other, Tolerance(min_share=0.95)).passed


def test_a_number_that_became_nan_is_a_difference(rows) -> None:
    other = rows | {"d1": moved(rows["d1"], 0, float("nan"))}
    assert column(compare(rows, other, Tolerance(1e9)), "points").agreeing == 78


def test_other_lengths_and_missing_rows_fail(rows) -> None:
    shorter = dataclasses.replace(rows["d0"], points=rows["d0"].points[:9])
    assert not compare(rows, rows | {"d0": shorter}, Tolerance(1e9)).passed
    fewer = compare(rows, {i: row for i, row in rows.items() if i != "d3"}, Tolerance())
    assert (fewer.passed, fewer.only_before, fewer.only_after) == (False, ["d3"], [])


def test_a_column_that_is_not_there_is_a_mistake(rows) -> None:
    with pytest.raises(UserError, match=r"no column pionts: the rows have .*points"):
        compare(rows, rows, Tolerance(0.0, {"pionts": 2.0}))
    with pytest.raises(UserError, match="no column flag:"):
        compare(rows, rows, Tolerance(ignore=(*PROVENANCE, "flag")))
