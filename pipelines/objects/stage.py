"""The object stage: every demonstration gets keypoint tracks of its manipulated object (paper A.1)."""

from collections.abc import Callable, Sequence

import numpy as np
from pydantic import Field

from data_schemas.cues import ObjectTrack
from data_schemas.errors import BadInput, UserError
from pipelines.engine.stage import Done, Failed, Filtered, Outcome, Resources, Stage, StageConfig
from pipelines.inputs import TrackInput
from pipelines.objects.base import (
    FrameSource,
    GroundedBox,
    GroundingRequest,
    KeypointSelector,
    ObjectGrounder,
    PointTracker,
)
from pipelines.objects.keypoints import SpreadFeatures
from pipelines.objects.lucas_kanade import LucasKanade
from pipelines.objects.motion_grounding import MotionGrounder
from pipelines.video import open_demonstration


class ObjectConfig(StageConfig):
    """What decides the tracks."""

    grounder: str = "motion"
    """A key of `GROUNDERS`; used where the data set gives no box."""
    tracker: str = "lucas-kanade"
    """A key of `TRACKERS`."""
    num_keypoints: int = Field(default=8, ge=3, le=256)
    """N_K of the paper, which does not state it."""
    min_score: float = Field(default=0.08, ge=0, le=1)
    """Boxes that score less are not taken."""


GROUNDERS: dict[str, Callable[[ObjectConfig], ObjectGrounder]] = {
    "motion": lambda config: MotionGrounder(config.min_score)
}
TRACKERS: dict[str, Callable[[ObjectConfig], PointTracker]] = {"lucas-kanade": lambda _: LucasKanade()}


class ObjectStage(Stage[TrackInput]):
    """Box from the data set or the grounder, keypoints in it, tracked through the clip."""

    name = "object_tracks"
    version = 1
    row = ObjectTrack
    resources = Resources(cpus=1.0, memory_gb=1.0)
    config: ObjectConfig

    def __init__(self, config: ObjectConfig) -> None:
        for what, name, table in (
            ("grounder", config.grounder, GROUNDERS),
            ("tracker", config.tracker, TRACKERS),
        ):
            if name not in table:
                raise UserError(f"Unknown object {what} '{name}': choose one of {', '.join(sorted(table))}.")
        super().__init__(config)
        self._grounder = GROUNDERS[config.grounder](config)
        self._selector: KeypointSelector = SpreadFeatures()
        self._tracker = TRACKERS[config.tracker](config)

    @property
    def models(self) -> Sequence[str]:
        """`name@revision` of grounder and tracker."""
        return (self._grounder.model, self._tracker.model)

    def process(self, batch: Sequence[TrackInput]) -> list[Outcome]:
        """One track per demonstration; `no_object_found` where nothing was moved or touched."""
        return [self._annotate(clip) for clip in batch]

    def _annotate(self, clip: TrackInput) -> Outcome:
        try:
            with open_demonstration(clip) as video:
                box = self._ground(clip, video)
                if box is None:
                    return Filtered("no_object_found", "nothing in the clip was seen to be moved or touched")
                return Done(self._track(clip, video, box))
        except BadInput as error:
            return Failed(error.reason, error.detail, error.retryable)

    def _ground(self, clip: TrackInput, video: FrameSource) -> GroundedBox | None:
        row = clip.demonstration
        if row.object_box.size:
            return GroundedBox(row.object_box, row.object_box_frame, 1.0, "dataset")
        return self._grounder.ground(GroundingRequest(video, clip.wrist, row.embodiment, row.instruction))

    def _track(self, clip: TrackInput, video: FrameSource, box: GroundedBox) -> ObjectTrack:
        count = self.config.num_keypoints
        frame = video.frames([box.frame])[0]
        queries = np.column_stack([np.full(count, box.frame), self._selector.select(frame, box, count)])
        tracks = self._tracker.track(video, queries)
        return ObjectTrack(
            demonstration_id=clip.demonstration.demonstration_id,
            source=tracks.source,
            box_source=box.source,
            phrase="",
            box=box.box.astype(np.float32),
            box_frame=box.frame,
            num_keypoints=count,
            points=tracks.points,
            visibility=tracks.visibility,
            visible=tracks.visible,
        )
