"""Stage 1 over several seeds: retrieval on held-out pairs, mean and spread, beside baselines without learning.

    python -m benchmarks.representation.seeds LAKE OUT [--version latest] [--seeds 3] [--set key.path=value]

Each seed is a run of its own below OUT, continued if it was killed and reused if it is finished.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from harp.data.version import version_folder
from harp.evaluation.representation import evaluate_representation
from harp.evaluation.retrieval import Retrieval
from harp.recipes import load_stage1_recipe
from harp.training.progress import bars
from harp.training.stage1 import train_stage1

COLUMNS = {
    "H2R R@1": lambda row: row.human_to_robot.recall_at_1,
    "R2H R@1": lambda row: row.robot_to_human.recall_at_1,
    "average R@1": lambda row: row.recall_at_1,
    "average MRR": lambda row: row.mrr,
    "paired distance": lambda row: row.paired_distance,
    "other distance": lambda row: row.other_distance,
}


def summarize(rows: list[Retrieval]) -> list[str]:
    """Mean over the seeds, with the sample standard deviation where they differ."""
    cells = []
    for value in COLUMNS.values():
        values = np.array([value(row) for row in rows])
        digits = 1 if values.mean() > 1 else 3
        spread = f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 and np.ptp(values) > 1e-9 else ""
        cells.append(f"{values.mean():.{digits}f}{spread}")
    return cells


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lake", type=Path)
    parser.add_argument("out", type=Path, help="folder of the runs")
    parser.add_argument("--version", default="latest")
    parser.add_argument("--recipe", default="laptop")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    folder = version_folder(arguments.lake, arguments.version)
    console = Console()
    evaluations = []
    for seed in range(arguments.seeds):
        config = load_stage1_recipe(arguments.recipe, [*arguments.set, f"seed={seed}"])
        with bars() as observers:
            train_stage1(config, folder, arguments.out / f"seed{seed}", observers=observers)
        evaluations.append(evaluate_representation(arguments.out / f"seed{seed}"))
    table = Table(title=f"{evaluations[0].num_pairs} held-out pairs, {arguments.seeds} seeds")
    table.add_column("")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for name in evaluations[0].rows:
        table.add_row(name, *summarize([evaluation.rows[name] for evaluation in evaluations]))
    console.print(table)


if __name__ == "__main__":
    main()
