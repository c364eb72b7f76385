"""Object boxes and keypoint tracks against the truth of a simulated folder.

    python -m benchmarks.cues.objects FOLDER [--wrists truth|stage] [--box stage|truth] [--pictures DIR]

Boxes: share of clips with a box, share whose box holds the object's true centre, intersection over union
with the true box. Tracks, over the clips whose box holds the centre: the truth follows fixed points of the
object's surface that are not the tracked ones, so every query point is carried along by the similarity that
best maps the true keypoints seen at the query frame to where they are later, near ones weighing more; its
error counts where it is truly visible, which it is when two of its three nearest true keypoints are.
`precision` is the share of points called visible that truly are; `recall` the share of truly visible points
that are called so.
"""

import argparse
import logging
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from data_schemas.cues import ObjectTrack, WristTrack
from pipelines.datasets.registry import get_reader
from pipelines.engine.stage import Done
from pipelines.inputs import TrackInput, VideoInput
from pipelines.objects.carrying import carry
from pipelines.objects.config import ObjectConfig
from pipelines.objects.stage import ObjectStage
from pipelines.video import open_demonstration
from pipelines.wrists.stage import WristConfig, WristStage


@dataclass(frozen=True)
class Score:
    """One clip's result; arrays hold one entry per point and frame, empty without a right box."""

    found: bool
    hit: bool
    overlap: float
    errors: np.ndarray
    visible: np.ndarray
    truly_visible: np.ndarray


def true_tracks(
    truth: dict[str, np.ndarray], frame: int, queries: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where `queries` (N, 2), set in `frame`, truly are: (T, N, 2), and whether they are visible, (T, N)."""
    keypoints, seen = truth["keypoints"], truth["keypoint_visible"]
    reference = np.flatnonzero(seen[frame]) if seen[frame].sum() >= 4 else np.arange(keypoints.shape[1])
    start = keypoints[frame, reference]
    places = carry(queries, start, keypoints[:, reference])
    nearest = reference[np.argsort(np.linalg.norm(queries[:, None] - start, axis=-1), axis=1)[:, :3]]
    return places, seen[:, nearest].sum(axis=-1) >= 2


def score(row: ObjectTrack | None, truth: dict[str, np.ndarray]) -> Score:
    """Compare a clip's row with its truth."""
    if row is None:
        return Score(False, False, 0.0, *(np.zeros(0) for _ in range(3)))
    x0, y0, x1, y1 = row.box
    x, y = truth["object_centre"][row.box_frame]
    hit = bool(x0 <= x <= x1 and y0 <= y <= y1)
    overlap = _overlap(row.box, truth["object_box"][row.box_frame])
    if not hit:
        return Score(True, False, overlap, *(np.zeros(0) for _ in range(3)))
    places, truly = true_tracks(truth, row.box_frame, row.points[row.box_frame].astype(float))
    errors = np.hypot(*np.moveaxis(row.points - places, -1, 0))
    return Score(True, True, overlap, errors.ravel(), row.visible.ravel(), truly.ravel())


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    both = float(np.prod(np.clip(high - low, 0, None)))
    return both / float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both)


def true_wrist(clip: VideoInput, truth: dict[str, np.ndarray]) -> WristTrack:
    """The wrist as the truth has it."""
    visible = truth["wrist_visible"].astype(bool)
    points = np.where(visible[:, None], truth["wrist_pixels"], np.nan).astype(np.float32)
    flags = ["found" if seen else "not_found" for seen in visible]
    demonstration = clip.demonstration.demonstration_id
    return WristTrack(demonstration, "truth", points, visible.astype(np.float32), visible, flags)


def contact_sheet(clip: VideoInput, row: ObjectTrack | None, count: int = 8) -> np.ndarray:
    """(h, w, 3) frames in a row with box (its own frame first) and points: filled visible, hollow hidden."""
    with open_demonstration(clip) as video:
        indices = np.linspace(0, len(video) - 1, count).round().astype(int)
        if row is not None:
            indices[0] = row.box_frame
        frames = video.frames(indices)
    tiles = []
    for index, frame in zip(indices, frames, strict=True):
        tile = cv2.resize(frame, None, fx=300 / frame.shape[1], fy=300 / frame.shape[1])
        zoom = 300 / frame.shape[1]
        if row is not None:
            if index == row.box_frame:
                x0, y0, x1, y1 = (zoom * row.box).astype(int).tolist()
                cv2.rectangle(tile, (x0, y0), (x1, y1), (255, 255, 0), 1)
            for (x, y), visible in zip(row.points[index], row.visible[index], strict=True):
                colour = (0, 255, 255) if visible else (255, 0, 255)
                cv2.circle(
                    tile, (round(zoom * float(x)), round(zoom * float(y))), 2, colour, -1 if visible else 1
                )
        cv2.putText(tile, str(index), (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1)
        tiles.append(tile)
    return np.concatenate(tiles, axis=1)


def table(scores: dict[tuple[str, str], list[Score]]) -> Table:
    """One line per task and embodiment, and one for all."""
    result = Table(title="Objects against ground truth (pixels of the clip)")
    for column in (
        "task", "embodiment", "clips", "box", "holds centre", "IoU", "error", "p90", "precision", "recall",
    ):  # fmt: skip
        result.add_column(column, justify="left" if column in ("task", "embodiment") else "right")
    everything = [one for group in scores.values() for one in group]
    for (task, embodiment), group in [*sorted(scores.items()), (("all", ""), everything)]:
        errors, visible, truly = (
            np.concatenate([getattr(s, name) for s in group])
            for name in ("errors", "visible", "truly_visible")
        )
        visible, truly = visible.astype(bool), truly.astype(bool)
        seen = errors[truly] if truly.any() else np.array([np.nan])
        result.add_row(
            task, embodiment, str(len(group)),
            f"{np.mean([s.found for s in group]):.0%}", f"{np.mean([s.hit for s in group]):.0%}",
            f"{np.mean([s.overlap for s in group]):.2f}",
            f"{np.median(seen):.2f}", f"{np.percentile(seen, 90):.1f}",
            f"{np.mean(truly[visible]) if visible.any() else np.nan:.3f}",
            f"{np.mean(visible[truly]) if truly.any() else np.nan:.3f}",
        )  # fmt: skip
    return result


def main() -> None:
    """Run the wrist and the object stage on every clip of a simulated folder and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="what `harp simulate tabletop` wrote")
    parser.add_argument("--wrists", choices=("truth", "stage"), default="stage")
    parser.add_argument(
        "--box", choices=("truth", "stage"), default="stage", help="truth: measure the tracker alone"
    )
    parser.add_argument("--pictures", type=Path, help="folder for one contact sheet per clip")
    parser.add_argument("--task", help="only the clips of this task")
    parser.add_argument("--limit", type=int, help="only the first clips")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    reader = get_reader("rh20t", {})
    objects = ObjectStage(ObjectConfig())
    objects.setup()
    wrists = WristStage(WristConfig())
    if arguments.wrists == "stage":
        wrists.setup()
    scores: dict[tuple[str, str], list[Score]] = defaultdict(list)
    for source in track(list(reader.discover(arguments.folder))[: arguments.limit], description="clips"):
        clip = VideoInput(reader.read(source, arguments.folder), arguments.folder)
        scene = Path(clip.demonstration.video_path).parts[-3]
        with np.load(arguments.folder / "ground_truth" / f"{scene}.npz") as file:
            truth = dict(file)
        if arguments.task not in (None, str(truth["task"])):
            continue
        if arguments.box == "truth":
            box = truth["object_box"][0].astype(np.float32)
            clip = replace(
                clip, demonstration=replace(clip.demonstration, object_box=box, object_box_frame=0)
            )
        found = wrists.process([clip])[0] if arguments.wrists == "stage" else Done(true_wrist(clip, truth))
        if not isinstance(found, Done) or not isinstance(found.row, WristTrack):
            raise SystemExit(f"No wrist track for {scene}: {found}")
        outcome = objects.process([TrackInput(clip.demonstration, clip.raw_root, found.row)])[0]
        row = outcome.row if isinstance(outcome, Done) and isinstance(outcome.row, ObjectTrack) else None
        one = score(row, truth)
        scores[str(truth["task"]), str(truth["embodiment"])].append(one)
        if arguments.pictures:
            arguments.pictures.mkdir(parents=True, exist_ok=True)
            name = f"{'hit' if one.hit else 'miss'}_{truth['task']}_{scene}.png"
            cv2.imwrite(str(arguments.pictures / name), contact_sheet(clip, row)[..., ::-1])
    Console(width=140).print(table(scores))


if __name__ == "__main__":
    main()
