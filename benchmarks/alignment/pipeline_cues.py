"""Wrist and object tracks as curation makes them."""

from data_schemas.cues import ObjectTrack, WristTrack
from pipelines.engine.stage import Done
from pipelines.inputs import Annotated, TrackInput, VideoInput
from pipelines.objects.stage import ObjectConfig, ObjectStage
from pipelines.wrists.stage import WristConfig, WristStage


class PipelineCues:
    """The wrist stage, then the object stage, with their default configurations."""

    def __init__(self) -> None:
        self.wrists, self.objects = WristStage(WristConfig()), ObjectStage(ObjectConfig())
        self.wrists.setup()
        self.objects.setup()

    def __call__(self, clip: VideoInput) -> Annotated:
        wrist = objects = None
        (outcome,) = self.wrists.process([clip])
        if isinstance(outcome, Done) and isinstance(outcome.row, WristTrack):
            wrist = outcome.row
            (outcome,) = self.objects.process([TrackInput(clip.demonstration, clip.raw_root, wrist)])
            if isinstance(outcome, Done) and isinstance(outcome.row, ObjectTrack):
                objects = outcome.row
        return Annotated(clip.demonstration, clip.raw_root, wrist, objects)
