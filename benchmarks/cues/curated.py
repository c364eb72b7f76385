"""What a curation of simulated clips found, against the truth: wrists, objects, alignment.

    python -m benchmarks.cues.curated LAKE FOLDER

Reads the rows of the lake's latest run instead of running the stages again. Alignment error is the mean
absolute difference between the matched and the true human frame, in percent of the human clip's length;
beside it the error of stretching the human clip linearly.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.cues import objects, wrists
from data_schemas.demonstrations import Demonstration
from pipelines.engine.lake import Lake
from pipelines.inputs import Annotated, VerdictInput
from pipelines.outlines import RunView
from pipelines.runs import latest_run
from simulation.ground_truth import GroundTruth


def scene(demonstration: Demonstration) -> str:
    """Name of the files of ground truth."""
    return Path(demonstration.source).name


def task(demonstration: Demonstration) -> str:
    """First word of the instruction."""
    return demonstration.instruction.split(" ")[0]


def wrist_score(clip: Annotated, folder: Path) -> wrists.Score | None:
    """Distance of the wrist track from the truth."""
    if clip.wrist is None:
        return None
    truth = GroundTruth.load(folder / f"{scene(clip.demonstration)}.npz")
    human = clip.demonstration.embodiment == "human"
    places = truth.wrist_pixels if human else truth.tcp_pixels
    size = np.array([clip.demonstration.width, clip.demonstration.height])
    visible = truth.wrist_visible if human else ((places >= -0.5) & (places < size - 0.5)).all(axis=1)
    error = np.linalg.norm(clip.wrist.points - places, axis=1)
    return wrists.Score(clip.demonstration, error, clip.wrist.visible, np.asarray(visible))


def alignment_table(subjects: Iterable[VerdictInput], folder: Path) -> Table:
    """Error per task, of the alignment and of a linear stretch."""
    errors: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for subject in subjects:
        if subject.alignment is None or subject.human is None or subject.robot is None:
            continue
        alignment, robot = subject.alignment, subject.robot.demonstration
        length = subject.human.demonstration.num_frames
        true = np.load(folder / f"{scene(robot)}.correspondence.npz")["human_index"]
        linear = np.linspace(0, length - 1, len(true))
        error = [
            100 * float(np.abs(found - true).mean()) / length for found in (alignment.human_index, linear)
        ]
        errors[task(robot)].append((error[0], error[1]))
    table = Table(title="Alignment against the true correspondence (% of the human clip's length)")
    for column in ("task", "pairs", "error", "worst pair", "linear stretch"):
        table.add_column(column, justify="left" if column == "task" else "right")
    everything = [pair for group in errors.values() for pair in group]
    for name, group in [*sorted(errors.items()), ("all", everything)]:
        found, linear = np.array(group).T
        table.add_row(
            name, str(len(group)), f"{found.mean():.2f}", f"{found.max():.2f}", f"{linear.mean():.2f}"
        )
    return table


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lake", type=Path)
    parser.add_argument("folder", type=Path, help="made by `harp simulate tabletop`")
    arguments = parser.parse_args()
    lake, truth = Lake(arguments.lake), arguments.folder / "ground_truth"
    view = RunView.of(lake, latest_run(lake))
    subjects = view.verdict_inputs(list(view.subjects)).values()
    clips = [side for subject in subjects for side in (subject.human, subject.robot) if side is not None]
    console = Console(width=140)

    found = [score for clip in clips if (score := wrist_score(clip, truth))]
    for embodiment in ("human", "robot"):
        scores = [score for score in found if score.demonstration.embodiment == embodiment]
        console.print(wrists.describe(embodiment, scores), highlight=False)

    tracks: dict[tuple[str, str], list[objects.Score]] = defaultdict(list)
    for clip in clips:
        known = np.load(truth / f"{scene(clip.demonstration)}.npz")
        group = task(clip.demonstration), clip.demonstration.embodiment
        tracks[group].append(objects.score(clip.objects, dict(known)))
    console.print(objects.table(tracks))
    console.print(alignment_table(subjects, truth))


if __name__ == "__main__":
    main()
