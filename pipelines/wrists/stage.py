"""The wrist stage: every demonstration gets the track of its hand or its end effector."""

import pkgutil
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
from pipelines.wrists.wilor import WiLoRConfig, installation, wilor_hands


class WristConfig(StageConfig):
    """What decides the tracks."""

    detector: str = "mediapipe-hands"
    """A key of `DETECTORS`."""
    mediapipe: MediaPipeHandsConfig = Field(default_factory=MediaPipeHandsConfig)
    wilor: WiLoRConfig = Field(default_factory=WiLoRConfig)
    association: AssociationConfig = Field(default_factory=AssociationConfig)
    smoothing: float = Field(default=0.08, ge=0)
    """Of human wrists, seconds; see `smoothing.smooth`."""
    projection: ProjectionConfig = Field(default_factory=ProjectionConfig)


def _mediapipe(config: WristConfig, num_threads: int) -> HandDetector:
    proposals = None
    if "handtrack" in config.detector:
        made = pkgutil.resolve_name("pipelines.wrists.hand_proposals:HandProposals")  # brings torch
        proposals = made(weights.resolve("handtrack"), config.mediapipe.min_proposal_score)
    return MediaPipeHands(weights.resolve("mediapipe-hands"), config.mediapipe, num_threads, proposals)


DETECTORS: dict[str, Callable[[WristConfig, int], HandDetector]] = {
    "mediapipe-hands": _mediapipe,
    "mediapipe-hands+handtrack": _mediapipe,
    "wilor-mini": lambda config, _: wilor_hands(config.wilor),
}
"""Names in the catalog of weights, joined by +, to what loads the detector, given the number of threads."""


class WristStage(Stage[VideoInput, WristConfig]):
    """Human demonstrations by a hand detector, robot demonstrations by projection."""

    name = "wrist_tracks"
    version = 1
    row = WristTrack

    def __init__(self, config: WristConfig) -> None:
        if config.detector not in DETECTORS:
            raise UserError(
                f"Unknown hand detector '{config.detector}': choose one of {', '.join(sorted(DETECTORS))}."
            )
        super().__init__(config)
        self._detector: HandDetector | None = None
        self._annotators: dict[str, WristAnnotator] = {}
        if config.detector == "wilor-mini":
            # Its child is no part of the worker's memory.
            self.resources = Resources(cpus=1.0, gpus=None, memory_gb=1.0)

    @property
    def models(self) -> Sequence[str]:
        """`model@revision` of the hand detector."""
        return tuple(weights.CATALOG[name].model_id for name in self.config.detector.split("+"))

    @property
    def memory_outside_mb(self) -> tuple[float, float]:
        return (0.0, 0.0) if self._detector is None else self._detector.memory_outside_mb

    def check(self) -> None:
        if self.config.detector == "wilor-mini":
            installation()

    def setup(self) -> None:
        """Load the hand detector, fetching its weights if this machine does not have them."""
        self._detector = DETECTORS[self.config.detector](self.config, max(1, int(self.resources.cpus)))
        human = HumanWristAnnotator(self._detector, self.config.association, self.config.smoothing)
        self._annotators = {
            "human": human,
            "robot": ProjectionAnnotator(self.config.projection),
        }

    def process(self, batch: Sequence[VideoInput]) -> list[Outcome]:
        """One track per demonstration; a video or poses that cannot be read fail under their named reason."""
        return [self._annotate(clip) for clip in batch]

    def teardown(self) -> None:
        """Forget the detector."""
        if self._detector is not None:
            self._detector.close()
        self._detector, self._annotators = None, {}

    def _annotate(self, clip: VideoInput) -> Outcome:
        try:
            return Done(self._annotators[clip.demonstration.embodiment].annotate(clip))
        except BadInput as error:
            return Failed(error.reason, error.detail, error.retryable)
