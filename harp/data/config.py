"""What training batches are made of."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class DataConfig(BaseModel):
    """Batches of pairs and single demonstrations."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pairs_per_batch: int = Field(default=64, ge=0)
    singles_per_batch: int = Field(default=64, ge=0)
    """Demonstrations without partner, human and robot mixed as the version has them; a version that has none
    gives batches of pairs alone."""
    context_frames: int = Field(default=4, ge=0)
    """Frames of a pair besides the two of its transition, one from each equal part of the clip: the alignment
    loss pools all of them."""
    horizon_seconds: tuple[float, float] = (0.5, 1.5)
    """Range of Δ, drawn anew for each transition and turned into frames by the clip's frame rate."""
    verify: Literal["sha256", "size"] = "sha256"
    """How a shard is compared with the manifest when it is first opened; `size` for shards on slow storage."""

    loader_threads: int = Field(default=2, ge=1)
    """Batches prepared at the same time, ahead of the step that runs; memory holds as many."""

    @model_validator(mode="after")
    def _check(self) -> "DataConfig":
        shortest, longest = self.horizon_seconds
        if not 0 < shortest <= longest:
            raise ValueError("horizon_seconds must be 0 < shortest <= longest")
        if self.pairs_per_batch + self.singles_per_batch == 0:
            raise ValueError("a batch needs pairs_per_batch or singles_per_batch above 0")
        return self
