"""What came of trials: a table of success rates with their intervals."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from data_schemas.whole_files import replacing
from harp.evaluation.intervals import Estimate, wilson

AVERAGE = "average"


@dataclass(frozen=True)
class TrialResult:
    """One trial."""

    task: str
    index: int
    seed: int
    success: bool
    steps: int
    """Control steps until success or the limit."""
    looks: int
    """How often the policy was asked."""
    seconds: float
    """Wall clock."""
    film: str | None = None
    """File of its film beside the table, where one was made."""

    @property
    def key(self) -> tuple[int, str, int]:
        """Of the trial."""
        return self.seed, self.task, self.index


@dataclass(frozen=True)
class TaskResult:
    """Success in one task, or over all of them."""

    trials: int
    successes: int
    mean_steps: float | None
    """Control steps of the trials that succeeded."""

    @property
    def rate(self) -> Estimate:
        """Percent of trials that succeeded, with Wilson's 95 % interval."""
        return wilson(self.successes, self.trials)

    @staticmethod
    def of(results: Sequence[TrialResult]) -> "TaskResult":
        steps = [one.steps for one in results if one.success]
        return TaskResult(len(results), len(steps), sum(steps) / len(steps) if steps else None)


@dataclass(frozen=True)
class ClosedLoopResult:
    """Success of one policy in one environment; all policies meet the same start states."""

    environment: str
    policy: str
    seed: int
    trials: tuple[TrialResult, ...]
    """Sorted by task, as the environment has them, and index."""

    @property
    def tasks(self) -> dict[str, TaskResult]:
        """Task → success, and `average` over all trials."""
        names = dict.fromkeys(one.task for one in self.trials)
        rows = {name: TaskResult.of([one for one in self.trials if one.task == name]) for name in names}
        return rows | {AVERAGE: TaskResult.of(self.trials)}

    def cells(self) -> dict[str, tuple[str, str, str]]:
        """Task → (trials, success with its interval, mean steps) as texts."""
        return {
            name: (str(row.trials), row.rate.text(), f"{row.mean_steps:.0f}" if row.mean_steps else "–")
            for name, row in self.tasks.items()
        }

    def table(self) -> Table:
        """For a terminal."""
        table = Table(title=f"{self.policy} in {self.environment}", box=SIMPLE, pad_edge=False)
        table.add_column("task")
        for column in ("trials", "success %, 95 % interval", "steps to success"):
            table.add_column(column, justify="right")
        for name, cells in self.cells().items():
            table.add_row(name.replace("_", " "), *cells, style="bold" if name == AVERAGE else None)
        return table

    def markdown(self) -> str:
        """The table with a line that says what it is about."""
        lines = [
            f"{self.policy} in {self.environment}, start states of seed {self.seed}; brackets: Wilson's 95 % interval.",
            "",
            "| task | trials | success % | steps to success |",
            "|---|---|---|---|",
            *(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |" for name, cells in self.cells().items()),
        ]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """JSON-compatible content, with every trial."""
        rows = {
            name: asdict(row) | {"rate": row.rate.mean, "low": row.rate.low, "high": row.rate.high}
            for name, row in self.tasks.items()
        }
        return asdict(self) | {"tasks": rows}

    def write(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        with replacing(path) as draft:
            draft.write_text(json.dumps(self.to_json(), indent=1) + "\n")

    @staticmethod
    def read(path: Path) -> "ClosedLoopResult":
        """Inverse of `write`."""
        content = json.loads(path.read_text())
        del content["tasks"]
        return ClosedLoopResult(
            **content | {"trials": tuple(TrialResult(**one) for one in content["trials"])}
        )
