"""Wrist and end-effector tracks against the truth of a simulated folder.

    python -m benchmarks.cues.wrists FOLDER [--limit N] [--detector mediapipe-hands] [--smoothing 0.08]

Human clips: share of the frames in which the wrist truly is visible that got a point, error of these points,
and share of all points given that truly are visible. Robot clips: error of the projected end effector.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from rich.progress import track

from data_schemas.cues import WristTrack
from data_schemas.demonstrations import Demonstration
from pipelines.datasets.registry import get_reader
from pipelines.engine.stage import Done
from pipelines.inputs import VideoInput
from pipelines.wrists.stage import DETECTORS, WristConfig, WristStage
from simulation.ground_truth import GroundTruth


@dataclass(frozen=True)
class Score:
    """One clip: all arrays are (T,)."""

    demonstration: Demonstration
    error: np.ndarray
    """Pixels; NaN where no point was given."""
    given: np.ndarray
    truly_visible: np.ndarray


def scores(folder: Path, limit: int | None, config: WristConfig) -> Iterator[Score]:
    """Run the wrist stage over the clips of a simulated folder."""
    reader = get_reader("rh20t", {})
    stage = WristStage(config)
    stage.setup()
    for clip in track(list(islice(reader.discover(folder), limit)), description="wrists"):
        demonstration = reader.read(clip, folder)
        (outcome,) = stage.process([VideoInput(demonstration, folder)])
        if not isinstance(outcome, Done) or not isinstance(outcome.row, WristTrack):
            raise RuntimeError(f"{clip.source}: {outcome}")
        truth = GroundTruth.load(folder / "ground_truth" / f"{Path(clip.source).name}.npz")
        if demonstration.embodiment == "human":
            places, visible = truth.wrist_pixels, truth.wrist_visible
        else:
            places = truth.tcp_pixels
            size = np.array([demonstration.width, demonstration.height])
            visible = ((places >= -0.5) & (places < size - 0.5)).all(axis=1)
        error = np.linalg.norm(outcome.row.points - places, axis=1)
        yield Score(demonstration, error, outcome.row.visible, np.asarray(visible))


def describe(embodiment: str, clips: list[Score]) -> str:
    """One paragraph of figures."""
    error, given, visible = (
        np.concatenate([getattr(clip, name) for clip in clips])
        for name in ("error", "given", "truly_visible")
    )
    counted = error[given & visible]
    width = clips[0].demonstration.width
    rates = [clip.given[clip.truly_visible].mean() for clip in clips if clip.truly_visible.any()]
    return (
        f"{embodiment}: {len(clips)} clips, {len(error)} frames, {visible.mean():.1%} truly visible\n"
        f"  found in {given[visible].mean():.2%} of the truly visible frames (worst clip {min(rates):.2%})\n"
        f"  error median {np.median(counted):.3f} px ({np.median(counted) / width:.2%} of width), "
        f"p90 {np.percentile(counted, 90):.3f}, max {counted.max():.3f} px\n"
        f"  {visible[given].mean():.2%} of the points given are truly visible"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="made by `harp simulate tabletop`")
    parser.add_argument("--limit", type=int, help="look at so many clips only")
    defaults = WristConfig()
    parser.add_argument("--detector", choices=sorted(DETECTORS), default=defaults.detector)
    parser.add_argument("--smoothing", type=float, default=defaults.smoothing, help="seconds")
    arguments = parser.parse_args()
    config = WristConfig(detector=arguments.detector, smoothing=arguments.smoothing)
    found = list(scores(arguments.folder, arguments.limit, config))
    for embodiment in ("human", "robot"):
        clips = [score for score in found if score.demonstration.embodiment == embodiment]
        if clips:
            print(describe(embodiment, clips))


if __name__ == "__main__":
    main()
