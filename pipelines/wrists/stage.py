"""The wrist stage: every demonstration gets the track of its hand or its end effector."""

from collections.abc import Callable, Sequence

from pydantic import Field

from data_schemas.cues import WristTrack
from data_schemas.errors import BadInput, UserError
from harp import weights
from pipelines.engine.stage import Done, Failed, Outcome, Resources, Stage, StageConfig
from pipelines.inputs import VideoInput
from pipelines.wrists.association import AssociationConfig
from pipelines.wrists.base import HandDetector, WristAnnotator
from pipelines.wrists.human import HumanWristAnnotator
from pipelines.wrists.mediapipe_hands import MediaPipeHands, MediaPipeHandsConfig
from pipelines.wrists.projection import ProjectionAnnotator, ProjectionConfig


class WristConfig(StageConfig):
    """What decides the tracks."""

    detector: str = "mediapipe-hands"
    """A key of `DETECTORS`."""
    mediapipe: MediaPipeHandsConfig = Field(default_factory=MediaPipeHandsConfig)
    association: AssociationConfig = Field(default_factory=AssociationConfig)
    projection: ProjectionConfig = Field(default_factory=ProjectionConfig)


def _mediapipe(config: WristConfig, num_threads: int) -> HandDetector:
    return MediaPipeHands(weights.resolve(config.detector), config.mediapipe, num_threads)


DETECTORS: dict[str, Callable[[WristConfig, int], HandDetector]] = {"mediapipe-hands": _mediapipe}
"""Name in the catalog of weights to what loads the detector, given the number of threads."""


class WristStage(Stage[VideoInput]):
    """Human demonstrations by a hand detector, robot demonstrations by projection."""

    name = "wrist_tracks"
    version = 1
    row = WristTrack
    resources = Resources(cpus=1.0, memory_gb=1.0)
    config: WristConfig

    def __init__(self, config: WristConfig) -> None:
        if config.detector not in DETECTORS:
            raise UserError(
                f"Unknown hand detector '{config.detector}': choose one of {', '.join(sorted(DETECTORS))}."
            )
        super().__init__(config)
        self._annotators: dict[str, WristAnnotator] = {}

    @property
    def models(self) -> Sequence[str]:
        """`model@revision` of the hand detector."""
        return (weights.CATALOG[self.config.detector].model_id,)

    def setup(self) -> None:
        """Load the hand detector, fetching its weights if this machine does not have them."""
        detector = DETECTORS[self.config.detector](self.config, max(1, int(self.resources.cpus)))
        self._annotators = {
            "human": HumanWristAnnotator(detector, self.config.association),
            "robot": ProjectionAnnotator(self.config.projection),
        }

    def process(self, batch: Sequence[VideoInput]) -> list[Outcome]:
        """One track per demonstration; a video or poses that cannot be read fail under their named reason."""
        return [self._annotate(clip) for clip in batch]

    def teardown(self) -> None:
        """Forget the detector."""
        self._annotators = {}

    def _annotate(self, clip: VideoInput) -> Outcome:
        try:
            return Done(self._annotators[clip.demonstration.embodiment].annotate(clip))
        except BadInput as error:
            return Failed(error.reason, error.detail, error.retryable)
