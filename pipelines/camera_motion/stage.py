"""The camera stage: demonstrations whose camera moves get its motion; the others have no row."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from data_schemas.camera import CameraMotion
from data_schemas.errors import BadInput
from pipelines.camera_motion.estimate import estimate_camera_path
from pipelines.engine.stage import Done, Failed, Outcome, Stage, StageConfig
from pipelines.inputs import TrackInput
from pipelines.video import open_demonstration


class CameraConfig(StageConfig):
    """Which cameras move."""

    moving: tuple[Literal["human", "robot"], ...] = ()
    """Embodiments that are filmed by a moving camera: `[human]` for a data set with head-mounted cameras."""
    hand_reach: float = Field(default=0.22, ge=0, le=1)
    """Radius around the wrist that belongs to the hand, as a share of the picture's longer side."""


class CameraStage(Stage[TrackInput, CameraConfig]):
    """Motion of the camera against the scene, frame by frame."""

    name: ClassVar[str] = "camera_motion"
    version: ClassVar[int] = 2
    row: ClassVar[type[CameraMotion]] = CameraMotion
    source = "corner-similarity@2"

    @property
    def models(self) -> Sequence[str]:
        """The method, though it has no weights."""
        return (self.source,)

    def process(self, batch: Sequence[TrackInput]) -> list[Outcome]:
        """One path per demonstration."""
        return [self._estimate(clip) for clip in batch]

    def _estimate(self, clip: TrackInput) -> Outcome:
        wrists = np.where(clip.wrist.visible[:, None], clip.wrist.points, np.nan).astype(np.float64)
        try:
            with open_demonstration(clip) as video:
                path = estimate_camera_path(video.iter_frames(), wrists, self.config.hand_reach)
        except BadInput as error:
            return Failed(error.reason, error.detail, error.retryable)
        return Done(
            CameraMotion(
                demonstration_id=clip.demonstration.demonstration_id,
                source=self.source,
                transforms=path.transforms,
                agreement=path.agreement.astype(np.float32),
            )
        )
