"""Seeds of a row put together, beside the paper's figures.

A row's spread has two sources that are kept apart: `±` is the standard deviation over seeds, the interval in brackets is
the bootstrap over pairs of the mean over seeds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from harp.evaluation.intervals import Estimate, bootstrap_mean
from harp.evaluation.results import ADAPTED, UNADAPTED, Evaluation
from harp.evaluation.retrieval import Retrieval

PAPER_PAIRS = 93
"""Held out by the paper (A.4)."""


@dataclass(frozen=True)
class PaperRow:
    """Tables 1 and A3, and the authors' results page."""

    recall_at_1: float
    mrr: float | None = None
    latent_recall_at_1: float | None = None
    gap: float | None = None


PAPER = {
    UNADAPTED: PaperRow(43.55, 0.5909),
    "hr": PaperRow(45.16, 0.6145),
    "harp-hr": PaperRow(53.23, 0.6842),
    "harp-l2": PaperRow(61.83, 0.7526),
    "harp-sr": PaperRow(74.74, 0.8385),
    "harp-srpd": PaperRow(78.50, 0.8647, 36.29, 30.67),
    "self-only": PaperRow(73.93, None, 26.62, 22.24),
    "cross-only": PaperRow(75.10, None, 28.03, 25.16),
    "paired-only": PaperRow(75.16, None, 32.06, 30.04),
    "no-auxiliary": PaperRow(73.37, None, 34.07, 26.71),
    "paired-25": PaperRow(77.36, None, 28.43),
    "paired-5": PaperRow(72.95, None, 24.40),
}


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over seeds."""

    mean: float
    deviation: float | None

    def text(self, digits: int = 1) -> str:
        """`61.8 ± 1.2`."""
        if self.deviation is None:
            return f"{self.mean:.{digits}f}"
        return f"{self.mean:.{digits}f} ± {self.deviation:.{digits}f}"


@dataclass(frozen=True)
class RowSummary:
    """One row on one set of N pairs."""

    seeds: int | None
    """Runs; None of a row without learning."""
    hits: np.ndarray
    """(N,) R@1 of each pair in percent, mean of both directions and of the seeds."""
    recall_at_1: Spread
    interval: Estimate
    recall_at_1_of_93: Spread | None
    """Expected among as many candidates as the paper has; None with fewer pairs."""
    human_to_robot: Spread
    robot_to_human: Spread
    mrr: Spread
    paired_distance: Spread
    other_distance: Spread
    latent_recall_at_1: Spread | None
    gap: Spread | None
    motion: Spread | None
    """Percent of the robots' wrist displacement that codes fitted on people's explain."""
    perplexity: Spread | None

    def to_json(self) -> dict[str, Any]:
        """JSON-compatible content."""
        return {**asdict(self), "hits": self.hits.tolist()}


def summarize(evaluations: Sequence[Evaluation], row: str = ADAPTED) -> RowSummary:
    """Put the seeds of one row together.

    Args:
        evaluations: of the same pairs, one per seed.
        row: which row of them; those without learning are the same for all seeds.
    """
    retrievals = [evaluation.rows[row] for evaluation in evaluations]
    # Codes of the unadapted row belong to some run's model.
    latents = [e.latent[row] for e in evaluations if row in e.latent and row == ADAPTED]
    motion = [each.motion_explained for each in latents if each.motion_explained is not None]

    def over(value: Callable[[Retrieval], float]) -> Spread:
        return spread([value(retrieval) for retrieval in retrievals])

    hits = np.mean([retrieval.hits for retrieval in retrievals], axis=0)
    return RowSummary(
        seeds=len(evaluations) if row == ADAPTED else None,
        hits=hits,
        recall_at_1=over(lambda r: r.recall_at_1),
        interval=bootstrap_mean(hits),
        recall_at_1_of_93=over(lambda r: r.recall_at_1_among(PAPER_PAIRS))
        if len(hits) >= PAPER_PAIRS
        else None,
        human_to_robot=over(lambda r: r.human_to_robot.recall_at_1),
        robot_to_human=over(lambda r: r.robot_to_human.recall_at_1),
        mrr=over(lambda r: r.mrr),
        paired_distance=over(lambda r: r.paired_distance),
        other_distance=over(lambda r: r.other_distance),
        latent_recall_at_1=optional_spread([each.retrieval.recall_at_1 for each in latents]),
        gap=optional_spread([each.gap.mean for each in latents]),
        motion=optional_spread(motion),
        perplexity=optional_spread([each.perplexity for each in latents]),
    )


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation; no deviation for one value."""
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def optional_spread(values: Sequence[float]) -> Spread | None:
    """`spread`, or None of no values."""
    return spread(values) if values else None


def summarize_set(runs: dict[str, list[Evaluation]]) -> dict[str, RowSummary]:
    """All rows of one set: those without learning, then the trained ones in their order."""
    first = next(iter(runs.values()))[0]
    free = {name: summarize([first], name) for name in first.rows if name != ADAPTED}
    return free | {name: summarize(evaluations) for name, evaluations in runs.items()}


COLUMNS = (
    "seeds",
    "average R@1",
    "95 % interval",
    "of 93",
    "paper",
    "H2R R@1",
    "R2H R@1",
    "average MRR",
    "paper",
    "paired distance",
    "other distance",
    "latent R@1",
    "paper",
    "code-agreement gap",
    "paper",
    "motion, %",
    "perplexity",
)


def markdown(title: str, rows: dict[str, RowSummary]) -> str:
    """A heading, the table of one set, and how the rows compare."""
    lines = [f"## {title}", "", "| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(_cells(name, row))} |" for name, row in rows.items()]
    lines += ["", "Differences in average R@1, pair by pair:", ""]
    lines += [f"- {one} less {other}: {estimate.text()}" for one, other, estimate in comparisons(rows)]
    return "\n".join(lines) + "\n"


ORDER = (UNADAPTED, "hr", "harp-hr", "harp-l2", "harp-sr", "harp-srpd")
"""Rows of table 1, each above the one before."""


def comparisons(rows: dict[str, RowSummary]) -> Iterator[tuple[str, str, Estimate]]:
    """(row, other row, average R@1 of the first less the second): neighbours in table 1, and all against ridge."""
    there = [name for name in ORDER if name in rows]
    wanted = [(later, earlier) for earlier, later in pairwise(there)]
    wanted += [(name, "ridge") for name in rows if name not in (*ORDER[:1], "ridge") and "ridge" in rows]
    for one, other in wanted:
        yield one, other, bootstrap_mean(rows[one].hits - rows[other].hits)


def _cells(name: str, row: RowSummary) -> list[str]:
    paper = PAPER.get(name)
    return [
        str(row.seeds or ""),
        row.recall_at_1.text(),
        f"{row.interval.low:.1f} to {row.interval.high:.1f}",
        row.recall_at_1_of_93.text() if row.recall_at_1_of_93 else "",
        _number(paper.recall_at_1 if paper else None, 2),
        row.human_to_robot.text(),
        row.robot_to_human.text(),
        row.mrr.text(3),
        _number(paper.mrr if paper else None, 3),
        row.paired_distance.text(4),
        row.other_distance.text(4),
        row.latent_recall_at_1.text() if row.latent_recall_at_1 else "",
        _number(paper.latent_recall_at_1 if paper else None, 2),
        row.gap.text() if row.gap else "",
        _number(paper.gap if paper else None, 2),
        row.motion.text() if row.motion else "",
        row.perplexity.text() if row.perplexity else "",
    ]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
