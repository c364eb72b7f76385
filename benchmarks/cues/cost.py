"""What the default annotators cost, and which share of it lies outside the models: decoding, cutting, copying.

    python -m benchmarks.cues.cost FOLDER [--limit 8]

CPU time of one thread, so other work on the machine matters little. The model is, for the wrists, the two networks'
run time; for the objects, everything that the grounder and the tracker do with frames once they have them. FOLDER is
a simulated one, `harp simulate tabletop`; its frames are small, so that decoding weighs less than in real videos.
"""

import argparse
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from data_schemas.cues import WristTrack
from harp import weights
from pipelines.datasets.registry import get_reader
from pipelines.engine.stage import Done
from pipelines.inputs import VideoInput
from pipelines.objects.base import FrameSource, GroundingRequest
from pipelines.objects.keypoints import SpreadFeatures
from pipelines.objects.lucas_kanade import LucasKanade
from pipelines.objects.motion_grounding import MotionGrounder
from pipelines.video import open_demonstration
from pipelines.wrists.mediapipe_hands import MediaPipeHands, MediaPipeHandsConfig
from pipelines.wrists.stage import WristConfig, WristStage


class Stopwatch:
    """CPU seconds spent inside it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Generator[None]:
        start = time.process_time()
        yield
        self.seconds += time.process_time() - start

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def timed(*arguments: Any) -> Any:
            with self.running():
                return function(*arguments)

        return timed


class TimedFrames:
    """A video whose decoding is timed."""

    def __init__(self, video: FrameSource, watch: Stopwatch) -> None:
        self._video, self._watch = video, watch
        self.width, self.height = video.width, video.height

    def __len__(self) -> int:
        return len(self._video)

    def frames(self, indices: Iterable[int], /) -> np.ndarray:
        with self._watch.running():
            return self._video.frames(indices)

    def iter_frames(self) -> Iterator[np.ndarray]:
        frames = self._video.iter_frames()
        while True:
            with self._watch.running():
                frame = next(frames, None)
            if frame is None:
                return
            yield frame


def wrist_cost(clips: list[VideoInput]) -> tuple[float, float, int]:
    """CPU seconds in all and outside the networks, and frames, of hand detection."""
    detector = MediaPipeHands(weights.resolve("mediapipe-hands"), MediaPipeHandsConfig())
    networks, whole, count = Stopwatch(), Stopwatch(), 0
    # Functions that are timed take the place of both networks.
    detector._palms._model = networks.around(detector._palms._model)  # pyrefly: ignore[bad-assignment]
    detector._landmarks = networks.around(detector._landmarks)  # pyrefly: ignore[bad-assignment]
    for clip in clips:
        with whole.running(), open_demonstration(clip) as video:
            frames = np.stack(list(video.iter_frames()))
            detector.detect(frames)
        count += len(frames)
    return whole.seconds, whole.seconds - networks.seconds, count


def object_costs(clips: list[VideoInput], wrists: list[WristTrack]) -> dict[str, tuple[float, float, int]]:
    """The same of grounding and of tracking."""
    grounder, selector, tracker = MotionGrounder(), SpreadFeatures(), LucasKanade()
    watches = {name: (Stopwatch(), Stopwatch()) for name in ("grounding", "tracking")}
    count = 0
    for clip, wrist in zip(clips, wrists, strict=True):
        with open_demonstration(clip) as opened:
            whole, decoding = watches["grounding"]
            video = TimedFrames(opened, decoding)
            with whole.running():
                (box,) = grounder.ground([GroundingRequest(video, wrist, clip.demonstration.embodiment)])
            if box is None:
                continue
            whole, decoding = watches["tracking"]
            video = TimedFrames(opened, decoding)
            with whole.running():
                points = selector.select(video.frames([box.frame])[0], box, 8)
                tracker.track(video, np.column_stack([np.full(8, box.frame), points]))
            count += len(opened)
    return {name: (whole.seconds, decoding.seconds, count) for name, (whole, decoding) in watches.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="made by `harp simulate tabletop`")
    parser.add_argument("--limit", type=int, default=8, help="clips")
    arguments = parser.parse_args()
    reader = get_reader("rh20t", {})
    found = islice(reader.discover(arguments.folder), arguments.limit)
    clips = [VideoInput(reader.read(clip, arguments.folder), arguments.folder) for clip in found]
    stage = WristStage(WristConfig())
    stage.setup()
    wrists = [outcome.row for outcome in stage.process(clips) if isinstance(outcome, Done)]
    people = [clip for clip in clips if clip.demonstration.embodiment == "human"]
    costs = {"hands (MediaPipe)": wrist_cost(people)}
    costs |= object_costs(clips, [row for row in wrists if isinstance(row, WristTrack)])
    table = Table(title="Cost of the default annotators (CPU time, one thread)")
    for column in ("annotator", "frames", "frames / s", "ms / frame", "outside the model"):
        table.add_column(column, justify="left" if column == "annotator" else "right")
    for name, (seconds, outside, frames) in costs.items():
        table.add_row(
            name, str(frames), f"{frames / seconds:.1f}", f"{1000 * seconds / frames:.1f}", f"{outside / seconds:.1%}"
        )  # fmt: skip
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
