"""Margins, weights and rates, chosen on the validation set alone.

    python -m benchmarks.representation.tune DATA OUT [--processes 2] [--set training.steps=120]
    python -m benchmarks.representation.tune DATA OUT --row harp-srpd --vary losses.alignment.weight=1,3,10

Without --row it makes the sweeps that the recipe's defaults come from: one setting at a time, all others at the
recipe's values. Runs lie in OUT/tuning and are continued or reused; the table goes to OUT/tuning.md, best first.
"""

import argparse
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from rich.console import Console

from benchmarks.representation.run import train_and_evaluate
from benchmarks.representation.summary import RowSummary, summarize
from benchmarks.representation.workers import run_jobs
from data_schemas.errors import UserError
from data_schemas.identity import content_id
from harp.recipes import load_stage1_recipe
from harp.recipes.rows import ROWS, row_overrides

_ALIGNMENT = "losses.alignment"
SWEEPS: dict[str, tuple[str, ...]] = {
    "harp-l2": (f"{_ALIGNMENT}.weight=0.3,1,3,10",),
    "harp-sr": (f"{_ALIGNMENT}.source_margin=0,0.02,0.05,0.1", f"{_ALIGNMENT}.weight=0.3,1,3,10"),
    "harp-srpd": (
        f"{_ALIGNMENT}.discriminative_margin=0.02,0.03,0.05,0.08",
        f"{_ALIGNMENT}.weight=0.3,1,3,10",
        f"{_ALIGNMENT}.robot_to_human=0.5,1,2",
        "training.adapter_learning_rate=1.0e-3,2.0e-3,4.0e-3",
        "data.context_frames=1,2,4",
    ),
    "harp-hr": (f"{_ALIGNMENT}.temperature=0.02,0.05,0.1",),
}
"""Row → settings to vary, each on its own."""
VALIDATION = "val"


@dataclass(frozen=True)
class Trial:
    """One setting of one row."""

    row: str
    changes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Row and what is changed, without the sections."""
        keys_and_values = (change.split("=") for change in self.changes)
        return " ".join([self.row, *(f"{key.split('.')[-1]}={value}" for key, value in keys_and_values)])


def trials(row: str, vary: list[str]) -> list[Trial]:
    """The product of all values, e.g. of `a.b=1,2` and `c=3,4`."""
    settings = []
    for text in vary:
        key, equals, values = text.partition("=")
        if not equals:
            raise UserError(
                f"--vary got '{text}'; it takes key.path=value,value, e.g. training.steps=60,120."
            )
        settings.append([f"{key}={value}" for value in values.split(",")])
    return [Trial(row, changes) for changes in product(*settings)]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder that benchmarks.representation.dataset made")
    parser.add_argument("out", type=Path)
    parser.add_argument("--row", choices=ROWS)
    parser.add_argument("--vary", action="append", default=[], metavar="KEY=V1,V2")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--recipe", default="laptop")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for all trials")
    arguments = parser.parse_args()
    if arguments.row:
        wanted = trials(arguments.row, arguments.vary)
    else:
        wanted = [trial for row, sweep in SWEEPS.items() for text in sweep for trial in trials(row, [text])]
    # Named by its configuration, so that trials which meet at a default are one run.
    runs: dict[str, tuple] = {}
    runs_of: dict[Trial, list[str]] = {}
    for trial in wanted:
        for seed in range(arguments.seeds):
            changes = [*arguments.set, *row_overrides(trial.row), *trial.changes, f"seed={seed}"]
            config = load_stage1_recipe(arguments.recipe, changes)
            run = content_id(config.model_dump_json())
            folder, features = arguments.out / "tuning" / run, arguments.out / "frozen_features"
            runs.setdefault(run, (config, arguments.data, folder, features, (VALIDATION,)))
            runs_of.setdefault(trial, []).append(run)
    finished = run_jobs(train_and_evaluate, runs, arguments.processes)
    summaries = {
        trial: summarize([finished[run][VALIDATION] for run in its_runs])
        for trial, its_runs in runs_of.items()
    }
    table = markdown(summaries, arguments.seeds)
    (arguments.out / "tuning.md").write_text(table)
    Console().print(table, markup=False, highlight=False, soft_wrap=True)


def markdown(summaries: dict[Trial, RowSummary], seeds: int) -> str:
    """Trials row by row, the best first."""
    lines = [
        f"Average R@1 on the validation pairs, {seeds} seed(s), 95 % bootstrap interval over pairs.",
        "",
        "| trial | average R@1 | interval | H2R | R2H | average MRR | paired distance | other distance |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows = list(dict.fromkeys(trial.row for trial in summaries))
    order = sorted(summaries.items(), key=lambda item: (rows.index(item[0].row), -item[1].recall_at_1.mean))
    for trial, row in order:
        cells = [
            trial.name,
            row.recall_at_1.text(),
            f"{row.interval.low:.1f} to {row.interval.high:.1f}",
            row.human_to_robot.text(),
            row.robot_to_human.text(),
            row.mrr.text(3),
            row.paired_distance.text(4),
            row.other_distance.text(4),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
