"""How a stage stands after a run, and the error of a run in which too much failed."""

from dataclasses import dataclass, field

from data_schemas.errors import UserError
from data_schemas.ledger import LedgerEntry

Counts = dict[str, int]
"""Reason -> items, most frequent first."""


@dataclass(frozen=True)
class StageSummary:
    """`total = already_done + done + filtered + failed`, whatever this run found done."""

    stage: str
    key: str
    total: int
    """Distinct items."""
    processed: int
    """Items that this run worked on; 0 when there was nothing left to do."""
    already_done: int
    """Items that had their row before this run, or got it from another run meanwhile."""
    done: int
    """Items that this run made a row for."""
    filtered: Counts
    """This run's and earlier ones'."""
    failed: Counts
    seconds: float
    failures: list[LedgerEntry] = field(repr=False)
    """Last attempt at every failed item, by label."""

    def __str__(self) -> str:
        work = f"{self.processed} of {self.total} items in {self.seconds:.1f} s"
        if not self.processed:
            work = f"nothing to do for {self.total} items"
        parts = [f"{self.done} done", f"{self.already_done} done before"]
        for name, counts in (("filtered", self.filtered), ("failed", self.failed)):
            if counts:
                parts.append(f"{sum(counts.values())} {name} ({describe_counts(counts)})")
        return f"{self.stage}: {work}: {', '.join(parts)}"


class StageFailed(UserError):
    """More items failed than the run allows. Everything else is committed; `summary` tells the rest."""

    def __init__(self, summary: StageSummary, max_failed_fraction: float) -> None:
        examples = ", ".join(f"{entry.label} ({entry.reason})" for entry in summary.failures[:3])
        super().__init__(
            f"Stage {summary.stage} failed on {len(summary.failures)} of {summary.total} items "
            f"({describe_counts(summary.failed)}), more than the allowed fraction of {max_failed_fraction:g}: "
            f"mend or remove {examples} and the like, or allow a larger fraction."
        )
        self.summary = summary


def describe_counts(counts: Counts) -> str:
    """`reason 3, other_reason 1`, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{reason} {number}" for reason, number in ordered)
