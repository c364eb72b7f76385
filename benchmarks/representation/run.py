"""All rows of the paper's tables 1 and A3 on the simulated tabletop, over several seeds.

    python -m benchmarks.representation.dataset DATA --processes 2
    python -m benchmarks.representation.run DATA OUT [--processes 2] [--ablations] [--rows harp-sr harp-srpd]

Writes OUT/results.json, OUT/results.md and OUT/rows.png. Each row and seed is a run of its own in OUT/runs/<row>/seed<n>;
a killed one continues, a finished one is reused, and `--finished` shows what is trained so far. Rows differ in what
`harp.recipes.rows` says and in nothing else; `--set` changes all of them, but never what makes a row. Nothing here may be
tuned on: `benchmarks.representation.tune` is for that.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.representation.chart import draw
from benchmarks.representation.dataset import EVALUATED_PAIRS, open_set
from benchmarks.representation.summary import RowSummary, markdown, summarize_set
from benchmarks.representation.workers import Report, run_jobs
from harp.evaluation.representation import evaluate_representation
from harp.evaluation.results import Evaluation
from harp.recipes import load_stage1_recipe
from harp.recipes.rows import ROWS, row_overrides
from harp.training.config import Stage1Config
from harp.training.progress import Observers, describe
from harp.training.stage1 import train_stage1

ABLATIONS = ("self-only", "cross-only", "paired-only", "no-auxiliary", "paired-25", "paired-5")
TABLE = tuple(name for name in ROWS if name not in ABLATIONS)
SETS = ("held", "second")


def train_and_evaluate(
    config: Stage1Config, data: Path, run: Path, features: Path, sets: tuple[str, ...], report: Report
) -> dict[str, Evaluation]:
    """One run and its evaluation on every set, as far as they are not there yet."""
    observers = Observers(
        features=lambda done, total: report("frozen features", done, total, ""),
        step=lambda done, total, metrics: report("training", done, total, describe(metrics)),
    )
    train_stage1(config, open_set(data, "train").folder, run, feature_folder=features, observers=observers)
    evaluations = {}
    for done, name in enumerate(sets):
        report(f"evaluation on {name}", done, len(sets), "")
        evaluations[name] = evaluate_representation(
            run,
            open_set(data, name).folder,
            max_pairs=EVALUATED_PAIRS[name],
            pictures=config.seed == 0,
            feature_folder=features,
        )
    return evaluations


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder that benchmarks.representation.dataset made")
    parser.add_argument("out", type=Path, help="folder of runs and results")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(TABLE))
    parser.add_argument("--ablations", action="store_true", help=f"also {', '.join(ABLATIONS)}")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="what to evaluate on")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--finished", action="store_true", help="train nothing: only runs that are trained")
    parser.add_argument("--processes", type=int, default=1, help="runs at the same time, one thread each")
    parser.add_argument("--recipe", default="laptop")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for all rows")
    arguments = parser.parse_args()
    rows = list(dict.fromkeys([*arguments.rows, *(ABLATIONS if arguments.ablations else ())]))
    jobs = {
        f"{row} seed {seed}": (
            load_stage1_recipe(arguments.recipe, [*arguments.set, *row_overrides(row), f"seed={seed}"]),
            arguments.data,
            arguments.out / "runs" / row / f"seed{seed}",
            arguments.out / "frozen_features",
            tuple(arguments.sets),
        )
        for seed in range(arguments.seeds)
        for row in rows
    }
    if arguments.finished:
        jobs = {name: job for name, job in jobs.items() if (job[2] / "result.json").is_file()}
        if not jobs:
            parser.error(f"no run of these rows is trained in {arguments.out}")
    evaluated = run_jobs(train_and_evaluate, jobs, arguments.processes)
    runs = {row: [evaluated[name] for name in jobs if name.startswith(f"{row} seed ")] for row in rows}
    summaries = {
        name: summarize_set({row: [one[name] for one in seeds] for row, seeds in runs.items() if seeds})
        for name in arguments.sets
    }
    pairs = {name: evaluated[next(iter(jobs))][name].num_pairs for name in arguments.sets}
    write(arguments.out, summaries, pairs)
    Console().print((arguments.out / "results.md").read_text(), markup=False, highlight=False, soft_wrap=True)


def write(out: Path, summaries: dict[str, dict[str, RowSummary]], pairs: dict[str, int]) -> None:
    """`results.json`, `results.md` and `rows.png`."""
    command = f"python -m benchmarks.representation.run {shlex.join(sys.argv[1:])}"
    titles = {"held": "Held-out set", "second": "Second evaluation set"}
    labels = {name: f"{titles[name]}: {pairs[name]} pairs" for name in summaries}
    content = {
        "command": command,
        "sets": {
            name: {
                "num_pairs": pairs[name],
                "rows": {row: summary.to_json() for row, summary in rows.items()},
            }
            for name, rows in summaries.items()
        },
    }
    (out / "results.json").write_text(json.dumps(content, indent=1) + "\n")
    text = [
        f"`{command}`",
        "Mean ± standard deviation over a row's seeds; interval: bootstrap over pairs of the mean over seeds. "
        "The paper's figures are of 93 pairs of RH20T; `of 93`: average R@1 expected among 93 candidates.",
        *(markdown(labels[name], rows) for name, rows in summaries.items()),
    ]
    (out / "results.md").write_text("\n\n".join(text))
    draw({labels[name]: rows for name, rows in summaries.items()}, out / "rows.png")


if __name__ == "__main__":
    main()
