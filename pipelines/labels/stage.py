"""The labelling stage: one side of one subject of a published version to the codes of all its transitions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field, field_validator

from data_schemas.errors import UserError
from data_schemas.latent_actions import LatentActions
from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion, Subject
from harp.latent_action.labels import Labeller, transitions
from harp.precision import Precision
from harp.training.distributed import default_device
from harp.training.stage1_models import load_stage1, stage1_identity
from pipelines.engine.stage import Done, Failed, Filtered, Outcome, Resources, Stage, StageConfig


class LabelConfig(StageConfig):
    """What decides the labels, besides the version and the model."""

    horizon_seconds: tuple[float, ...] = Field(min_length=1)
    """Δ, one or more."""
    precision: Precision = "fp32"
    """bf16 is faster on a GPU; codes of latents that lie between two may then differ."""

    @field_validator("horizon_seconds")
    @classmethod
    def _positive_and_different(cls, horizons: tuple[float, ...]) -> tuple[float, ...]:
        if min(horizons) <= 0 or len(set(horizons)) < len(horizons):
            raise ValueError("horizons must be positive seconds, each given once")
        return horizons


@dataclass(frozen=True)
class Clip:
    """One side of a subject."""

    subject: Subject
    side: str


class LabelStage(Stage[Clip, LabelConfig]):
    """Human sides by the frozen encoder, robot sides by the adapted one.

    Args:
        run: folder of the stage-1 run; its models' content is part of the key.
        version_folder: of the version that the clips are of; every worker opens its shards.
        batch_frames: frames, and transitions, that go through a network at a time.
        gpus: of one worker; see `Resources.gpus`.
    """

    name = "latent_actions"
    version = 1
    row = LatentActions

    def __init__(
        self,
        config: LabelConfig,
        run: Path,
        version_folder: Path,
        batch_frames: int = 64,
        gpus: float | None = None,
    ) -> None:
        super().__init__(config)
        self._run, self._version_folder, self._batch_frames = run, version_folder, batch_frames
        self._identity = stage1_identity(run)
        self.resources = Resources(cpus=1.0, gpus=gpus)
        self._labeller: Labeller | None = None
        self._reader: ShardReader | None = None

    @property
    def models(self) -> Sequence[str]:
        return (self._identity,)

    def setup(self) -> None:
        """Load the models of the run and open the version."""
        loaded = load_stage1(self._run, default_device())
        self._labeller = Labeller(
            loaded.encoder,
            loaded.latent_action,
            loaded.text,
            precision=self.config.precision,
            batch_size=self._batch_frames,
        )
        self._reader = ShardReader(PublishedVersion.open(self._version_folder), loaded.config.data.verify)

    def process(self, batch: Sequence[Clip]) -> list[Outcome]:
        """One row of codes per clip; a clip of one frame has no transition."""
        return [self._label(clip) for clip in batch]

    def teardown(self) -> None:
        """Forget the models, close the shards."""
        if self._reader is not None:
            self._reader.close()
        self._labeller = self._reader = None

    def _label(self, clip: Clip) -> Outcome:
        assert self._labeller is not None
        subject = clip.subject
        if subject.num_frames < 2:
            return Filtered("too_short", "One frame holds no transition.")
        try:
            frames = self._frames(clip)
        except UserError as error:  # a shard that is missing or has changed; it may come back
            return Failed("unreadable_shard", str(error), retryable=True)
        seconds, pairs = transitions(subject.num_frames, subject.fps, self.config.horizon_seconds)
        codes = self._labeller.codes(frames, clip.side, subject.instruction, pairs)
        return Done(
            LatentActions(
                subject_id=subject.subject_id,
                side=clip.side,
                codes_per_action=codes.shape[1],
                horizon_seconds=seconds,
                frames=pairs.astype(np.int32),
                codes=codes.astype(np.int16),
            )
        )

    def _frames(self, clip: Clip) -> np.ndarray:
        assert self._reader is not None
        return np.concatenate(
            [
                self._reader.frames(segment, clip.side, range(segment.num_frames))
                for segment in clip.subject.segments
            ]
        )
