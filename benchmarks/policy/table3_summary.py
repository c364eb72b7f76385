"""Success of all rows, put together over seeds: JSON, Markdown, chart.

Two spreads are kept apart: `±` is the standard deviation over seeds of training, brackets are Wilson's 95 % interval of
all trials. Rows are compared start state by start state: the difference to `harp` has the bootstrap's interval over
them, which is narrower than two intervals beside each other, as all rows meet the same ones.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.policy.rows import ROWS
from harp.evaluation.closed_loop.results import AVERAGE, ClosedLoopResult, TaskResult
from harp.evaluation.intervals import Estimate, bootstrap_mean

REFERENCE = "harp"
INK, GREY, PAPER_MARK = "#1c2430", "#e4e8ee", "#d9622b"
COLOURS = ("#2563a8", "#d9822b", "#1fa36b", "#8c6d1f")


@dataclass(frozen=True)
class RowKey:
    """One run: row of the table, demonstrations a task (0 before any was seen), seed."""

    row: str
    demonstrations: int
    seed: int

    def __str__(self) -> str:
        return f"{self.row} {self.demonstrations} seed {self.seed}"


@dataclass(frozen=True)
class Success:
    """A row with one number of demonstrations."""

    tasks: dict[str, TaskResult]
    """Task → all trials of all seeds, and `average`."""
    seeds: tuple[float, ...]
    """Average success of each seed, percent."""
    trials: np.ndarray
    """(N,) success at each start state in percent, mean over seeds."""

    def over(self, other: "Success") -> Estimate:
        """How many points more than another row, with the interval over start states."""
        return bootstrap_mean(self.trials - other.trials)

    def text(self) -> str:
        """`61.8 ± 1.2 [54.3, 69.4]`."""
        rate = self.tasks[AVERAGE].rate
        spread = f" ± {np.std(self.seeds, ddof=1):.1f}" if len(self.seeds) > 1 else ""
        return f"{rate.mean:.1f}{spread} [{rate.low:.1f}, {rate.high:.1f}]"


def summarize(results: Mapping[RowKey, ClosedLoopResult]) -> dict[tuple[str, int], Success]:
    """(Row, demonstrations a task) → success over all seeds."""
    groups: dict[tuple[str, int], list[ClosedLoopResult]] = {}
    for key, result in results.items():
        groups.setdefault((key.row, key.demonstrations), []).append(result)
    return {group: _success(members) for group, members in groups.items()}


def _success(results: list[ClosedLoopResult]) -> Success:
    trials = [trial for result in results for trial in result.trials]
    tasks = dict.fromkeys(trial.task for trial in trials)
    by_task = {task: TaskResult.of([t for t in trials if t.task == task]) for task in tasks}
    return Success(
        tasks=by_task | {AVERAGE: TaskResult.of(trials)},
        seeds=tuple(result.tasks[AVERAGE].rate.mean for result in results),
        trials=100 * np.mean([[trial.success for trial in result.trials] for result in results], axis=0),
    )


def markdown(rows: Mapping[tuple[str, int], Success], command: str) -> str:
    """The table at the largest number of demonstrations, and the curve where there are several."""
    most = max(count for _, count in rows)
    full = {row: success for (row, count), success in rows.items() if count == most}
    tasks = [task for task in next(iter(full.values())).tasks if task != AVERAGE]
    lines = [
        f"`{command}`",
        "",
        f"Success in percent with {most} demonstrations a task; ± standard deviation over seeds, brackets: Wilson's 95 % "
        "interval of all trials; last but one: points more than `harp`, bootstrap over start states. The paper's figures are of a real robot.",
        "",
        "| row | " + " | ".join(task.replace("_", " ") for task in tasks) + " | average | − harp | paper |",
        "|---" * (len(tasks) + 4) + "|",
    ]
    for row, success in full.items():
        rates = [success.tasks[task].rate.text() for task in tasks]
        less = success.over(full[REFERENCE]).text() if REFERENCE in full and row != REFERENCE else ""
        paper = ROWS[row].paper
        lines.append(f"| {row} | {' | '.join([*rates, success.text(), less, str(paper or '')])} |")
    counts = sorted({count for _, count in rows})
    if len(counts) > 1:
        curves = [row for row in full if (row, counts[0]) in rows]
        lines += ["", f"| demonstrations a task | {' | '.join(curves)} | {curves[0]} less the last |"]
        lines += ["|---" * (len(curves) + 2) + "|"]
        for count in counts:
            cells = [rows[row, count].text() for row in curves]
            gain = rows[curves[0], count].over(rows[curves[-1], count]).text()
            lines.append(f"| {count} | {' | '.join([*cells, gain])} |")
    return "\n".join(lines) + "\n"


def draw(rows: Mapping[tuple[str, int], Success], path: Path) -> None:
    """Bars of all rows at the largest number of demonstrations, and curves over the number of demonstrations."""
    most = max(count for _, count in rows)
    full = {row: success for (row, count), success in rows.items() if count == most}
    figure = Figure(figsize=(10.5, 1.6 + 0.5 * max(5, len(full))), dpi=150, layout="constrained")
    bars, curves = figure.subplots(1, 2, width_ratios=(1.2, 1))
    _draw_bars(bars, full, most)
    _draw_curves(curves, rows)
    figure.savefig(path)


def _draw_bars(axes: Axes, rows: Mapping[str, Success], count: int) -> None:
    rates = [success.tasks[AVERAGE].rate for success in rows.values()]
    means, places = np.array([rate.mean for rate in rates]), np.arange(len(rows))
    errors = np.abs(np.array([(rate.low, rate.high) for rate in rates]).T - means)
    axes.barh(places, means, 0.62, color=COLOURS[0])
    axes.errorbar(means, places, xerr=errors, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
    for place, rate in enumerate(rates):
        axes.text(rate.high + 1.5, place, f"{rate.mean:.1f}", va="center", fontsize=8, color=INK)
    marked = [(paper, place) for place, row in enumerate(rows) if (paper := ROWS[row].paper) is not None]
    if marked:
        axes.scatter(
            *np.array(marked).T,
            marker="D",
            s=30,
            color=PAPER_MARK,
            edgecolors="white",
            zorder=5,
            label="paper (real robot)",
        )
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.set_yticks(places, list(rows))
    axes.invert_yaxis()
    axes.set_title(f"{count} demonstrations a task", fontsize=10, color=INK)
    axes.set_xlim(0, 108)
    axes.set_xlabel("success, percent; Wilson's 95 % interval")
    _plain(axes, "x")


def _draw_curves(axes: Axes, rows: Mapping[tuple[str, int], Success]) -> None:
    counts_of: dict[str, list[int]] = {}
    for row, count in sorted(rows):
        counts_of.setdefault(row, []).append(count)
    curves = {row: counts for row, counts in counts_of.items() if len(counts) > 1}
    for (name, counts), colour in zip(curves.items(), COLOURS, strict=False):
        rates = [rows[name, count].tasks[AVERAGE].rate for count in counts]
        axes.plot(counts, [rate.mean for rate in rates], "o-", color=colour, label=name)
        low, high = [rate.low for rate in rates], [rate.high for rate in rates]
        axes.fill_between(counts, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel("demonstrations a task")
    axes.set_ylabel("success, percent")
    axes.set_ylim(0, 100)
    if curves:
        axes.legend(frameon=False, fontsize=8)
    _plain(axes, "y")


def _plain(axes: Axes, grid: Literal["x", "y"]) -> None:
    axes.grid(axis=grid, color=GREY)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def write_results(results: Mapping[RowKey, ClosedLoopResult], out: Path, command: str) -> None:
    """`results.json`, `results.md` and `table3.png`."""
    rows = summarize(results)
    content = {
        "command": command,
        "rows": [
            {
                "row": row,
                "demonstrations": count,
                "seeds": success.seeds,
                "tasks": {task: asdict(r) | asdict(r.rate) for task, r in success.tasks.items()},
            }
            for (row, count), success in rows.items()
        ],
    }
    (out / "results.json").write_text(json.dumps(content, indent=1) + "\n")
    (out / "results.md").write_text(markdown(rows, command))
    draw(rows, out / "table3.png")
