"""Sets the rows of two implementations of a stage side by side and says whether they agree within tolerances.

Numbers agree within an absolute tolerance (pixels for tracks, the default), NaN agrees with NaN only, everything else has to
be equal. A column passes if a large enough share of its values agrees; a row that only one side has fails.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields

import numpy as np

from data_schemas.errors import UserError
from data_schemas.row import Row

PROVENANCE = ("source", "box_source")
"""Columns that name the implementation itself: they are not compared."""


@dataclass(frozen=True)
class Tolerance:
    """When two columns agree."""

    default: float = 0.0
    """Absolute difference that numbers may have."""
    columns: Mapping[str, float] | None = None
    """The same for single columns."""
    min_share: float = 1.0
    """Of a column's values that must agree."""
    ignore: Collection[str] = PROVENANCE

    def of(self, column: str) -> float:
        return (self.columns or {}).get(column, self.default)


@dataclass(frozen=True)
class ColumnResult:
    """How one column compares over all rows that both sides have."""

    column: str
    values: int
    agreeing: int
    max_difference: float
    """Of numbers that are numbers on both sides; NaN where there are none."""
    mean_difference: float
    worst: str
    """Item with the largest difference."""
    passed: bool

    @property
    def share(self) -> float:
        return self.agreeing / self.values if self.values else 1.0


@dataclass(frozen=True)
class Comparison:
    """The verdict on a new implementation."""

    rows: int
    only_before: list[str]
    only_after: list[str]
    columns: list[ColumnResult]

    @property
    def passed(self) -> bool:
        return not self.only_before and not self.only_after and all(c.passed for c in self.columns)


def compare(before: Mapping[str, Row], after: Mapping[str, Row], tolerance: Tolerance) -> Comparison:
    """Compare rows by item id.

    Raises:
        UserError: the tolerance names a column that the rows do not have.
    """
    both = sorted(before.keys() & after.keys())
    columns = [f.name for f in fields(before[both[0]])] if both else []
    named = {*(tolerance.columns or ()), *tolerance.ignore} - {*PROVENANCE, *columns}
    if both and named:
        raise UserError(
            f"There is no column {', '.join(sorted(named))}: the rows have {', '.join(columns)}; name one of those."
        )
    names = [name for name in columns if name not in tolerance.ignore]
    return Comparison(
        rows=len(both),
        only_before=sorted(before.keys() - after.keys()),
        only_after=sorted(after.keys() - before.keys()),
        columns=[
            _column(name, {i: (getattr(before[i], name), getattr(after[i], name)) for i in both}, tolerance)
            for name in names
        ],
    )


def _column(name: str, pairs: Mapping[str, tuple], tolerance: Tolerance) -> ColumnResult:
    values = agreeing = 0
    gaps: list[np.ndarray] = []
    worst, largest = "", -1.0
    for item_id, (a, b) in pairs.items():
        equal, gap = _agree(np.asarray(a), np.asarray(b), tolerance.of(name))
        values += equal.size
        agreeing += int(equal.sum())
        gaps.append(gap)
        badness = float(gap.max()) if gap.size else 0.0
        badness = np.inf if not equal.all() and badness <= tolerance.of(name) else badness
        if badness > largest:
            worst, largest = item_id, badness
    differences = np.concatenate(gaps) if gaps else np.empty(0)
    return ColumnResult(
        column=name,
        values=values,
        agreeing=agreeing,
        max_difference=float(differences.max()) if differences.size else float("nan"),
        mean_difference=float(differences.mean()) if differences.size else float("nan"),
        worst=worst if largest > 0 else "",
        passed=agreeing >= tolerance.min_share * values,
    )


def _agree(a: np.ndarray, b: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Which values agree, and the differences of those that are numbers on both sides."""
    nothing = np.empty(0)
    if a.shape != b.shape:
        return np.zeros(max(a.size, b.size, 1), bool), nothing
    if not (np.issubdtype(a.dtype, np.number) and np.issubdtype(b.dtype, np.number)):
        return np.atleast_1d(a == b).ravel(), nothing
    first, second = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    both = ~np.isnan(first) & ~np.isnan(second)
    gap = np.abs(first - second)
    return np.where(both, gap <= tolerance, np.isnan(first) & np.isnan(second)), gap[both]
