"""What training batches are made of."""

from typing import Literal

from pydantic import Field, model_validator

from data_schemas.strict_model import StrictModel
from data_schemas.versions import LATEST


class SourceConfig(StrictModel):
    """A part of the training data, and how much of a batch it gives."""

    version: str | None = None
    """Id of a published version of the same lake; the version of the run by default."""
    datasets: tuple[str, ...] = ()
    """All data sets of the version by default."""
    kinds: tuple[Literal["pair", "human", "robot"], ...] = ("pair", "human", "robot")
    weight: float = Field(default=1.0, gt=0)
    """Pairs of a batch are shared out among the sources that have pairs in proportion to their weights, singles
    among those that have singles."""

    @model_validator(mode="after")
    def _check(self) -> "SourceConfig":
        if self.version == LATEST:
            raise ValueError(f"a source names a version by its id: '{LATEST}' changes with every publication")
        return self


class AugmentationConfig(StrictModel):
    """Random views of the robot's clips: one crop and one colour change for all frames of a clip.

    Human frames stay as they were published; cue points move with the robot's frames. The robot's frozen reference
    f^{R0} comes from the frozen-feature cache, which knows frames as they were published; the objective `hr`, which
    pools patch tokens by attention, computes it from the changed frames.
    """

    min_crop: float = Field(default=1.0, gt=0, le=1)
    """Smallest side of the square crop, as a share of the frame's; 1 crops nothing."""
    brightness: float = Field(default=0.0, ge=0, lt=1)
    """Largest change of the factor, which is drawn from 1 ± brightness; likewise below."""
    contrast: float = Field(default=0.0, ge=0, lt=1)
    saturation: float = Field(default=0.0, ge=0, le=1)


class DataConfig(StrictModel):
    """Batches of pairs and single demonstrations."""

    pairs_per_batch: int = Field(default=64, ge=0)
    singles_per_batch: int = Field(default=64, ge=0)
    """Demonstrations without partner, human and robot mixed as the version has them; a version that has none
    gives batches of pairs alone."""
    sources: tuple[SourceConfig, ...] = ()
    """Mixture of data sets, kinds and versions; all of the run's version, unweighted, by default."""
    paired_fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of each source's training pairs that is used, chosen by a hash of their ids: the pairs of a
    smaller share are among those of a larger one."""
    unused_pairs: Literal["leave_out", "unpaired"] = "leave_out"
    """What becomes of the other pairs: nothing, or both halves enter as single demonstrations."""
    context_frames: int = Field(default=4, ge=0)
    """Frames of a pair besides the two of its transition, one from each equal part of the clip: the alignment
    loss pools all of them."""
    horizon_seconds: tuple[float, float] = (0.5, 1.5)
    """Range of Δ, drawn anew for each transition and turned into frames by the clip's frame rate."""
    robot_augmentation: AugmentationConfig | None = None
    """Frames as they were published by default."""
    verify: Literal["sha256", "size"] = "sha256"
    """How a shard is compared with the manifest when it is first opened; `size` for shards on slow storage."""
    loader_threads: int = Field(default=2, ge=1)
    """Batches prepared at the same time, ahead of the step that runs; memory holds as many."""

    @property
    def other_versions(self) -> tuple[str, ...]:
        """Ids of the versions that the sources name besides the run's."""
        return tuple(dict.fromkeys(source.version for source in self.sources if source.version))

    @model_validator(mode="after")
    def _check(self) -> "DataConfig":
        shortest, longest = self.horizon_seconds
        if not 0 < shortest <= longest:
            raise ValueError("horizon_seconds must be 0 < shortest <= longest")
        if self.pairs_per_batch + self.singles_per_batch == 0:
            raise ValueError("a batch needs pairs_per_batch or singles_per_batch above 0")
        return self
