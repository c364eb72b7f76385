"""Stage `alignments`: frame correspondence of a pair, by the best cue that both sides have.

Cues are tried in the order of the configuration: the wrist against the end effector (paper A.1), then the
object's track, then descriptions of the frames. A cue is usable where both sides saw it in enough frames and it
moved; the row records which one was used.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from data_schemas.pairs import Alignment
from pipelines.alignment.cues import Signal, feature_signal, object_signal, wrist_signal
from pipelines.alignment.features import MotionProfile
from pipelines.alignment.normalization import Track, prepare_track
from pipelines.alignment.tracks import WarpConfig, align_tracks, common_span
from pipelines.engine.stage import Done, Filtered, Outcome, Stage, StageConfig
from pipelines.inputs import Annotated, PairInput

Cue = Literal["wrist", "object", "features"]


class AlignConfig(StageConfig):
    """Defaults: sweep of `benchmarks/alignment`."""

    cues: tuple[Cue, ...] = ("wrist", "object", "features")
    """Tried in this order."""
    min_usable_fraction: float = Field(default=0.4, ge=0, le=1)
    """Share of frames in which each side must see the cue."""
    min_extent: float = Field(default=0.03, ge=0)
    """How far a track must range, as a share of the image's diagonal: what stays put aligns nothing."""
    smoothing: float = Field(default=0.1, ge=0)
    """Standard deviation of the Gaussian on the cue, seconds."""
    warp: WarpConfig = WarpConfig()


class AlignStage(Stage[PairInput, AlignConfig]):
    """Aligns both halves of a pair; `no_common_cue` where nothing is usable on both sides."""

    name: ClassVar[str] = "alignments"
    version: ClassVar[int] = 2
    row: ClassVar[type[Alignment]] = Alignment

    def __init__(self, config: AlignConfig | None = None) -> None:
        super().__init__(config or AlignConfig())
        self.descriptor = MotionProfile()

    @property
    def models(self) -> Sequence[str]:
        return (self.descriptor.name,) if "features" in self.config.cues else ()

    def process(self, batch: Sequence[PairInput]) -> list[Outcome]:
        return [self._process_pair(pair) for pair in batch]

    def _process_pair(self, pair: PairInput) -> Outcome:
        problems = []
        for cue in self.config.cues:
            robot, human = self._signal(pair.robot, cue), self._signal(pair.human, cue)
            if isinstance(robot, str) or isinstance(human, str):
                problems += [
                    f"{cue} of the {side} {found}"
                    for side, found in (("robot", robot), ("human", human))
                    if isinstance(found, str)
                ]
                continue
            tracks = self._prepare(pair.robot, robot), self._prepare(pair.human, human)
            start, end = common_span(*tracks)
            if end <= start or end - start < self.config.min_usable_fraction / 2:
                problems.append(f"{cue}s are seen in different parts of the clips")
                continue
            warp = align_tracks(*tracks, self._warp_config(cue))
            return Done(
                Alignment(
                    pair_id=pair.pair_id,
                    human_id=pair.human.demonstration.demonstration_id,
                    robot_id=pair.robot.demonstration.demonstration_id,
                    cue=cue,
                    human_index=warp.human_index,
                    path=warp.path,
                    cost=warp.cost,
                    usable_fraction=min(robot.usable_fraction, human.usable_fraction),
                )
            )
        return Filtered("no_common_cue", "; ".join(problems))

    def _signal(self, side: Annotated, cue: Cue) -> Signal | str:
        """The cue of one side, or what is wrong with it."""
        match cue:
            case "wrist":
                signal = wrist_signal(side)
            case "object":
                signal = object_signal(side)
            case "features" if side.camera is not None:
                return "needs a camera that stands still"
            case "features":
                signal = feature_signal(side, self.descriptor)
        if signal is None:
            return "is absent"
        if not signal.usable.any() or signal.usable_fraction < self.config.min_usable_fraction:
            return f"is usable in {signal.usable_fraction:.0%} of frames, expected {self.config.min_usable_fraction:.0%}"
        if signal.extent < self.config.min_extent:
            return f"ranges over {signal.extent:.1%} of the image, expected {self.config.min_extent:.1%}"
        return signal

    def _warp_config(self, cue: Cue) -> WarpConfig:
        """A view is a map of the image plane; it means nothing between frame descriptions."""
        return (
            self.config.warp.model_copy(update={"view_steps": 0}) if cue == "features" else self.config.warp
        )

    def _prepare(self, side: Annotated, signal: Signal) -> Track:
        return prepare_track(
            signal.values, signal.usable, side.demonstration.timestamps, self.config.smoothing
        )
