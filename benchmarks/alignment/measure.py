"""How well the alignment recovers a known correspondence, cue by cue.

    python -m benchmarks.alignment.measure simulated FOLDER            # of `harp simulate tabletop --out FOLDER`
    python -m benchmarks.alignment.measure simulated FOLDER --detected # cues as the pipeline finds them
    python -m benchmarks.alignment.measure warped FOLDER --human hand.mp4

The error is the mean absolute difference between the human frame given and the true one, over all robot frames,
in per cent of the human clip's length. `linear` stretches one clip onto the other: what no alignment would give.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.alignment.cases import Annotate, Case, simulated_pairs, warped_clips
from data_schemas.pairs import Alignment
from pipelines.alignment.stage import AlignConfig, AlignStage, Cue
from pipelines.engine.stage import Done

CUES: tuple[Cue, ...] = ("wrist", "object", "features")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    simulated = commands.add_parser("simulated", help="pairs with ground truth")
    simulated.add_argument("folder", type=Path)
    simulated.add_argument(
        "--detected", action="store_true", help="detect the cues instead of taking the true ones"
    )
    warped = commands.add_parser("warped", help="frame-identical clips, one of them warped in time")
    warped.add_argument("folder", type=Path)
    warped.add_argument("--human", required=True, help="file name of the human clip")
    warped.add_argument("--seeds", type=int, default=5, help="number of random warps")
    arguments = parser.parse_args()
    if arguments.command == "simulated":
        cases = list(simulated_pairs(arguments.folder, _pipeline_cues() if arguments.detected else None))
        report(cases)
        return
    with tempfile.TemporaryDirectory() as scratch:
        report(
            list(
                warped_clips(
                    arguments.folder, arguments.human, Path(scratch), arguments.seeds, _pipeline_cues()
                )
            )
        )


def report(cases: list[Case]) -> None:
    """Print one row per group and cue."""
    table = Table(title="Alignment against the truth, error in % of the human clip's length")
    for column in ("group", "cue", "pairs", "mean", "worst", "cost mean", "cost max", "usable", "no cue"):
        table.add_column(column, justify="left" if column in ("group", "cue") else "right")
    for group in [*sorted({case.group for case in cases}), "all"]:
        chosen = [case for case in cases if group in (case.group, "all")]
        errors = [_error(case, _linear(case)) for case in chosen]
        table.add_row(group, "linear", str(len(chosen)), f"{np.mean(errors):.2f}", f"{np.max(errors):.2f}")
        for name, cues in [*((cue, (cue,)) for cue in CUES), ("default", CUES)]:
            stage = AlignStage(AlignConfig(cues=cues))
            outcomes = zip(chosen, stage.process([case.pair for case in chosen]), strict=True)
            rows = [
                (case, outcome.row)
                for case, outcome in outcomes
                if isinstance(outcome, Done) and isinstance(outcome.row, Alignment)
            ]
            missing = str(len(chosen) - len(rows))
            if not rows:
                table.add_row("", name, "0", "", "", "", "", "", missing)
                continue
            errors = [_error(case, row.human_index) for case, row in rows]
            costs, usable = [row.cost for _, row in rows], [row.usable_fraction for _, row in rows]
            table.add_row(
                "",
                name,
                str(len(rows)),
                f"{np.mean(errors):.2f}",
                f"{np.max(errors):.2f}",
                f"{np.mean(costs):.3f}",
                f"{np.max(costs):.3f}",
                f"{np.mean(usable):.2f}",
                missing,
            )
        table.add_section()
    Console(width=110).print(table)


def _error(case: Case, index: np.ndarray) -> float:
    return float(100 * np.abs(index - case.truth).mean() / case.pair.human.demonstration.num_frames)


def _linear(case: Case) -> np.ndarray:
    human, robot = case.pair.human.demonstration.num_frames, case.pair.robot.demonstration.num_frames
    return np.linspace(0, human - 1, robot)


def _pipeline_cues() -> Annotate:
    from benchmarks.alignment.pipeline_cues import PipelineCues

    return PipelineCues()


if __name__ == "__main__":
    main()
