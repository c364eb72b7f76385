"""Rows of the paper's table 3 on the simulated tabletop, from stage 1 to success in closed loop, over several seeds.

    harp simulate tabletop --pairs 200 --out raw && harp curate tabletop --root raw --lake lake
    harp simulate demonstrations --per-task 50 --out demos
    python -m benchmarks.policy.table3 lake demos OUT --processes 2

Writes OUT/results.json, OUT/results.md and OUT/table3.png. Every run of every stage has a folder of its own below OUT; a
killed one continues, a finished one is reused, a finished trial is never run again. All rows see the same videos,
demonstrations, budget and start states, and differ in what `benchmarks.policy.rows` says. A run is named by its row, its
number of demonstrations and its seed, which all three stages share; with `--stage1-seeds` stages 2 and 3 are repeated on
fewer runs of stage 1. `--set1`, `--set2` and `--set3` change the recipes.

Policies act at the table of the demonstrations, whose seed says how things lie there. The videos of the lake should be of
the same table, as in the paper, whose first two stages see the videos of its real demonstrations too (table A1).
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.policy.rows import CURVE, ROWS, Row
from benchmarks.policy.table3_summary import RowKey, write_results
from benchmarks.representation.workers import Report, run_jobs
from data_schemas.episodes import read_collection
from data_schemas.latent_actions import LabelSet
from harp.data.policy_episodes import EpisodeSet
from harp.data.version import PublishedVersion, version_folder
from harp.evaluation.closed_loop.actors import environment_factory
from harp.evaluation.closed_loop.evaluate import evaluate_closed_loop
from harp.evaluation.closed_loop.results import ClosedLoopResult
from harp.recipes import load_stage1_recipe, load_stage2_recipe, load_stage3_recipe
from harp.recipes.rows import row_overrides
from harp.training.policy_run import Start
from harp.training.progress import Observers, describe
from harp.training.stage1 import train_stage1
from harp.training.stage2 import train_stage2
from harp.training.stage3 import train_stage3
from pipelines.engine.executors import LocalExecutor
from pipelines.label import label_version

CAMERAS = 2


@dataclass(frozen=True)
class Settings:
    """What all rows share."""

    lake: Path
    demonstrations: Path
    out: Path
    recipes: Sequence[str]
    """Of the three stages."""
    label_precision: str
    changes: Sequence[Sequence[str]]
    """To these recipes."""
    tasks: Sequence[str]
    trials: int
    replan: int | None
    stage1_seeds: int
    """Runs of stage 1 for each of its rows, shared by the seeds in turn."""

    @property
    def version(self) -> Path:
        return version_folder(self.lake, "latest")

    def stage1(self, name: str, seed: int) -> Path:
        """Folder of the run of stage 1 that a seed starts from, which several rows share."""
        return self.out / "stage1" / name / f"seed{seed % self.stage1_seeds}"

    def run(self, stage: str, key: RowKey) -> Path:
        """Folder of a run of stage 2 or 3."""
        return self.out / stage / key.row / f"{key.demonstrations}-seed{key.seed}"


def prepare(settings: Settings, name: str, seed: int, needs_labels: bool, report: Report) -> str | None:
    """A run of stage 1, and the key of its labels."""
    changes = [*settings.changes[0], *row_overrides(name), f"seed={seed}"]
    run = settings.stage1(name, seed)
    config = load_stage1_recipe(settings.recipes[0], changes)
    features = settings.out / "frozen_features"
    train_stage1(config, settings.version, run, feature_folder=features, observers=_observers(report))
    if not needs_labels:
        return None
    with LocalExecutor() as executor:
        labels: LabelSet = label_version(
            PublishedVersion.open(settings.version),
            run,
            executor,
            precision=settings.label_precision,
            progress=lambda done, total: report("labels", done, total, ""),
        ).labels
    return labels.key


def pretrain(settings: Settings, row: Row, key: RowKey, labels: str, report: Report) -> None:
    """Stage 2, which does not depend on the number of demonstrations."""
    assert row.stage1 is not None
    assert row.stage2 is not None
    changes = [*settings.changes[1], *row.stage2, f"seed={key.seed}"]
    train_stage2(
        load_stage2_recipe(settings.recipes[1], changes),
        settings.lake,
        settings.run("stage2", key),
        labels=(labels,),
        start=Start(stage1=settings.stage1(row.stage1, key.seed)),
        features_folder=settings.out / "clip_features",
        observers=_observers(report),
    )


def finetune(
    settings: Settings, row: Row, key: RowKey, pretrained: RowKey | None, report: Report
) -> ClosedLoopResult:
    """Stage 3 and its evaluation."""
    changes = [*settings.changes[2], *row.stage3, f"seed={key.seed}"]
    stage1 = settings.stage1(row.stage1, key.seed) if row.stage1 else None
    run = settings.run("stage3", key)
    train_stage3(
        load_stage3_recipe(settings.recipes[2], [*changes, f"data.episodes_per_task={key.demonstrations}"]),
        str(settings.run("stage2", pretrained)) if pretrained else "tiny",
        settings.demonstrations,
        run,
        start=Start(stage1=stage1 if row.reads_codes or not pretrained else None),
        frames_folder=settings.out / "episode_frames",
        observers=_observers(report),
    )
    return evaluate_closed_loop(
        environment_factory("tabletop"),
        "tabletop",
        str(run),
        run / "evaluation" / "tabletop",
        tasks=settings.tasks,
        trials=settings.trials,
        seed=read_collection(settings.demonstrations).seed,
        replan=settings.replan,
        films=1,
        progress=lambda done, total, successes: report("trials", done, total, f"{successes} succeeded"),
    )


def run_table(
    settings: Settings, rows: Sequence[str], counts: Sequence[int], seeds: int, processes: int
) -> dict[RowKey, ClosedLoopResult]:
    """Everything that is not there yet: stage 1 with labels, then stage 2, then stage 3 with evaluation."""
    most = max(counts)
    keys = [
        RowKey(row, count, seed)
        for seed in range(seeds)
        for row in rows
        for count in counts
        if count == most or row in CURVE
    ]
    aligned = {
        f"stage 1 {name} seed {seed}": (settings, name, seed, _needs_labels(name, rows))
        for seed in range(min(seeds, settings.stage1_seeds))
        for name in dict.fromkeys(ROWS[row].stage1 for row in rows)
        if name
    }
    labels = run_jobs(prepare, aligned, processes)
    pretrained = {}
    for key in keys:
        row, first = ROWS[key.row], RowKey(key.row, 0, key.seed)
        if row.stage2 is not None:
            made = labels[f"stage 1 {row.stage1} seed {key.seed % settings.stage1_seeds}"]
            pretrained[f"stage 2 {first}"] = (settings, row, first, made)
    run_jobs(pretrain, pretrained, processes)
    # Decoded here, as several runs would otherwise decode the same videos at once.
    EpisodeSet.open(settings.demonstrations, settings.out / "episode_frames", most).decode(CAMERAS)
    jobs = {}
    for key in keys:
        row = ROWS[key.row]
        jobs[str(key)] = (
            settings,
            row,
            key,
            RowKey(key.row, 0, key.seed) if row.stage2 is not None else None,
        )
    finished = run_jobs(finetune, jobs, processes)
    return {key: finished[str(key)] for key in keys}


def _needs_labels(stage1: str, rows: Sequence[str]) -> bool:
    return any(ROWS[row].stage1 == stage1 and ROWS[row].stage2 is not None for row in rows)


def _observers(report: Report) -> Observers:
    return Observers(
        features=lambda done, total: report("features", done, total, ""),
        step=lambda done, total, metrics: report("training", done, total, describe(metrics)),
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lake", type=Path, help="lake with a published version")
    parser.add_argument("demonstrations", type=Path, help="folder of `harp simulate demonstrations`")
    parser.add_argument("out", type=Path, help="folder of runs and results")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument(
        "--counts", nargs="+", type=int, default=[5, 10, 20, 50], help="demonstrations a task"
    )
    parser.add_argument("--tasks", nargs="+", default=[], help="default: all")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--replan", type=int, help="actions carried out of each chunk; default: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--stage1-seeds", type=int, help="runs of stage 1; default: as many as seeds")
    parser.add_argument("--processes", type=int, default=1, help="runs at the same time, one thread each")
    parser.add_argument("--recipes", nargs=3, default=["laptop", "tiny", "tiny"], help="of the three stages")
    parser.add_argument(
        "--label-precision", choices=("auto", "fp32", "bf16"), default="fp32", help="of the models that label"
    )
    for stage in (1, 2, 3):
        parser.add_argument(f"--set{stage}", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    settings = Settings(
        lake=arguments.lake,
        demonstrations=arguments.demonstrations,
        out=arguments.out,
        recipes=arguments.recipes,
        label_precision=arguments.label_precision,
        changes=(arguments.set1, arguments.set2, arguments.set3),
        tasks=arguments.tasks,
        trials=arguments.trials,
        replan=arguments.replan,
        stage1_seeds=arguments.stage1_seeds or arguments.seeds,
    )
    results = run_table(settings, arguments.rows, arguments.counts, arguments.seeds, arguments.processes)
    command = f"python -m benchmarks.policy.table3 {shlex.join(sys.argv[1:])}"
    write_results(results, settings.out, command)
    Console().print((settings.out / "results.md").read_text(), markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
