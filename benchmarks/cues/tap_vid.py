"""Point trackers on simulated clips by TAP-Vid's protocol: δ_avg, occlusion accuracy, Average Jaccard.

    python -m benchmarks.cues.tap_vid FOLDER [--tracker lucas-kanade] [--mode first|strided] [--limit N]

Queries are the true keypoints of the object's surface: in mode `first` each in the first frame that shows it,
in mode `strided` every fifth frame with all points it shows. Coordinates are scaled to 256 × 256; scores are
means over clips. The published figures of TAPIR and BootsTAPIR (RoboTAP: AJ 59.6 and 69.2) are of other videos.
"""

import argparse
import logging
from collections import defaultdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pipelines.datasets.registry import get_reader
from pipelines.inputs import VideoInput
from pipelines.objects.config import ObjectConfig
from pipelines.objects.registry import TRACKERS
from pipelines.objects.tap_vid import TapVid, tap_vid
from pipelines.video import open_demonstration

STRIDE = 5
"""Frames between query frames in mode `strided`, as published."""


def queries_of(visible: np.ndarray, mode: str) -> np.ndarray:
    """(Q, 2) frame and index of the true points (T, K) that are given to the tracker."""
    if mode == "first":
        shown = np.flatnonzero(visible.any(axis=0))
        return np.column_stack([visible[:, shown].argmax(axis=0), shown])
    frames, points = np.nonzero(visible[::STRIDE])
    return np.column_stack([frames * STRIDE, points])


def score(clip: VideoInput, truth: dict[str, np.ndarray], tracker, mode: str) -> TapVid:
    """One clip's scores."""
    places, visible = truth["keypoints"], truth["keypoint_visible"].astype(bool)
    frames, points = queries_of(visible, mode).T
    with open_demonstration(clip) as video:
        tracks = tracker.track(video, np.column_stack([frames, places[frames, points]]))
        size = video.width, video.height
    return tap_vid(tracks.points, tracks.visible, places[:, points], visible[:, points], frames, size, mode)


def table(scores: dict[tuple[str, str], list[TapVid]], title: str) -> Table:
    """One line per task and embodiment, and one for all."""
    result = Table(title=title)
    for column in ("task", "embodiment", "clips", "AJ", "δ avg", "δ 1 px", "δ 4 px", "δ 16 px", "OA"):
        result.add_column(column, justify="left" if column in ("task", "embodiment") else "right")
    everything = [one for group in scores.values() for one in group]
    for (task, embodiment), group in [*sorted(scores.items()), (("all", ""), everything)]:
        delta = np.nanmean([one.delta for one in group], axis=0)
        values = (
            np.nanmean([one.average_jaccard for one in group]), delta.mean(), delta[0], delta[2], delta[4],
            np.nanmean([one.occlusion_accuracy for one in group]),
        )  # fmt: skip
        result.add_row(task, embodiment, str(len(group)), *(f"{100 * value:.1f}" for value in values))
    return result


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="what `harp simulate tabletop` wrote")
    parser.add_argument("--tracker", choices=sorted(TRACKERS), default="lucas-kanade")
    parser.add_argument("--mode", choices=("first", "strided"), default="first")
    parser.add_argument("--limit", type=int, help="only the first clips")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    tracker = TRACKERS[arguments.tracker](ObjectConfig(tracker=arguments.tracker))
    tracker.load()
    reader = get_reader("rh20t", {})
    scores: dict[tuple[str, str], list[TapVid]] = defaultdict(list)
    for source in track(list(reader.discover(arguments.folder))[: arguments.limit], description="clips"):
        clip = VideoInput(reader.read(source, arguments.folder), arguments.folder)
        scene = Path(clip.demonstration.video_path).parts[-3]
        with np.load(arguments.folder / "ground_truth" / f"{scene}.npz") as file:
            truth = dict(file)
        group = str(truth["task"]), str(truth["embodiment"])
        scores[group].append(score(clip, truth, tracker, arguments.mode))
    title = f"TAP-Vid metrics, {tracker.model}, queries '{arguments.mode}' (percent)"
    Console(width=120).print(table(scores, title))


if __name__ == "__main__":
    main()
