"""The object stage: every demonstration gets keypoint tracks of its manipulated object (paper A.1).

instruction ─ noun phrase ─┐
frames ─── describer ──────┴─► phrase ─ grounder ─► box at first occurrence ─ keypoints ─► tracker
"""

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from data_schemas.cues import ObjectTrack
from data_schemas.errors import BadInput
from pipelines.engine.stage import Done, Failed, Filtered, Outcome, Stage
from pipelines.inputs import TrackInput
from pipelines.objects.base import (
    FrameSource,
    GroundedBox,
    GroundingRequest,
    KeypointSelector,
    ObjectDescriber,
    ObjectGrounder,
    PointTracker,
)
from pipelines.objects.config import ObjectConfig
from pipelines.objects.instruction_object import object_phrase
from pipelines.objects.keypoints import SpreadFeatures
from pipelines.objects.occlusion import COVER, hide_near_hand
from pipelines.objects.registry import DESCRIBERS, GROUNDERS, TRACKERS, check_names, resources
from pipelines.video import open_demonstration

PRETRAINED_BATCH = 8
"""Demonstrations per call where a pretrained part gains from seeing several at once."""


class ObjectStage(Stage[TrackInput, ObjectConfig]):
    """Box from the data set or the grounder, keypoints in it, tracked through the clip."""

    name = "object_tracks"
    version = 2
    row = ObjectTrack

    def __init__(self, config: ObjectConfig) -> None:
        check_names(config)
        super().__init__(config)
        self.resources = resources(config)
        self._describer = DESCRIBERS[config.describer](config) if config.describer != "none" else None
        self._grounder = GROUNDERS[config.grounder](config)
        self._selector: KeypointSelector = SpreadFeatures()
        self._tracker = TRACKERS[config.tracker](config)
        if config.grounder != "motion" or self._describer is not None:
            self.batch_size = PRETRAINED_BATCH

    @property
    def models(self) -> Sequence[str]:
        """`name@revision` of describer, grounder and tracker."""
        describer = () if self._describer is None else (self._describer.model,)
        return (*describer, self._grounder.model, self._tracker.model)

    @property
    def _parts(self) -> tuple[ObjectDescriber | ObjectGrounder | PointTracker, ...]:
        describer = () if self._describer is None else (self._describer,)
        return (*describer, self._grounder, self._tracker)

    def check(self) -> None:
        for part in self._parts:
            part.check()

    def setup(self) -> None:
        """Load the models that need it."""
        for part in self._parts:
            part.load()

    def process(self, batch: Sequence[TrackInput]) -> list[Outcome]:
        """One track per demonstration; `no_object_found` where nothing was moved, touched or answers the phrase."""
        outcomes: dict[int, Outcome] = {}
        with ExitStack() as stack:
            videos: dict[int, FrameSource] = {}
            for i, clip in enumerate(batch):
                try:
                    videos[i] = stack.enter_context(open_demonstration(clip))
                except BadInput as error:
                    outcomes[i] = Failed(error.reason, error.detail, error.retryable)
            try:
                phrases = self._phrases(batch, videos)
                boxes = self._boxes(batch, videos, phrases)
                for i, video in videos.items():
                    outcomes[i] = self._outcome(batch[i], video, boxes[i], phrases[i])
            except BadInput as error:
                if len(batch) > 1:
                    return [self.process([clip])[0] for clip in batch]
                outcomes[0] = Failed(error.reason, error.detail, error.retryable)
        return [outcomes[i] for i in range(len(batch))]

    def _phrases(self, batch: Sequence[TrackInput], videos: dict[int, FrameSource]) -> dict[int, str]:
        """The object in words: from the instruction, else from the describer."""
        phrases = {i: object_phrase(batch[i].demonstration.instruction) for i in videos}
        unnamed = [i for i, phrase in phrases.items() if not phrase]
        if self._describer is not None and unnamed:
            count = self._describer.num_frames
            clips = [
                videos[i].frames(np.linspace(0, len(videos[i]) - 1, count).round().astype(int))
                for i in unnamed
            ]
            phrases.update(zip(unnamed, self._describer.describe(clips), strict=True))
        return phrases

    def _boxes(
        self, batch: Sequence[TrackInput], videos: dict[int, FrameSource], phrases: dict[int, str]
    ) -> dict[int, GroundedBox | None]:
        """Boxes of the data set, else of the grounder, which sees the whole batch at once."""
        boxes: dict[int, GroundedBox | None] = {}
        for i in videos:
            row = batch[i].demonstration
            if row.object_box.size:
                boxes[i] = GroundedBox(row.object_box, row.object_box_frame, 1.0, "dataset")
        rest = [i for i in videos if i not in boxes]
        requests = [
            GroundingRequest(videos[i], batch[i].wrist, batch[i].demonstration.embodiment, phrases[i])
            for i in rest
        ]
        boxes.update(zip(rest, self._grounder.ground(requests) if rest else [], strict=True))
        return boxes

    def _outcome(self, clip: TrackInput, video: FrameSource, box: GroundedBox | None, phrase: str) -> Outcome:
        if box is not None:
            return Done(self._track(clip, video, box, phrase))
        if self.config.grounder == "motion":
            return Filtered("no_object_found", "nothing in the clip was seen to be moved or touched")
        return Filtered("no_object_found", f"no frame was seen to show '{phrase or 'an object'}'")

    def _track(self, clip: TrackInput, video: FrameSource, box: GroundedBox, phrase: str) -> ObjectTrack:
        count = self.config.num_keypoints
        frame = video.frames([box.frame])[0]
        queries = np.column_stack([np.full(count, box.frame), self._selector.select(frame, box, count)])
        tracks = self._tracker.track(video, queries)
        reach = COVER[clip.demonstration.embodiment] * max(video.width, video.height)
        visibility = hide_near_hand(tracks.points, tracks.visibility, clip.wrist, reach)
        return ObjectTrack(
            demonstration_id=clip.demonstration.demonstration_id,
            source=tracks.source,
            box_source=box.source,
            phrase=phrase,
            box=box.box.astype(np.float32),
            box_frame=box.frame,
            num_keypoints=count,
            points=tracks.points,
            visibility=visibility,
            visible=visibility > 0.5,
        )
