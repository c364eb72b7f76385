"""Configuration of the object stage: which part finds, describes and tracks the object, and how."""

from typing import Literal, Self

from pydantic import Field, model_validator

from data_schemas.strict_model import StrictModel
from pipelines.engine.stage import StageConfig


class DescribeConfig(StrictModel):
    """How the manipulated object gets its phrase where no instruction names it (paper A.1)."""

    model: str = "Qwen/Qwen3-VL-8B-Instruct"
    """As the server or the hub knows it."""
    num_frames: int = Field(default=6, ge=1, le=32)
    """Frames of the clip that the model sees, evenly spaced."""
    max_side: int = Field(default=640, ge=64)
    """Longer side of these frames, pixels."""


class DetectorConfig(StrictModel):
    """GroundingDINO."""

    model: Literal["grounding-dino-tiny", "grounding-dino-base"] = "grounding-dino-tiny"
    box_threshold: float = Field(default=0.3, ge=0, le=1)
    text_threshold: float = Field(default=0.25, ge=0, le=1)
    stride: int = Field(default=15, ge=1)
    """Every n-th frame is searched for the object's first occurrence."""


class TapirConfig(StrictModel):
    """TAPIR."""

    resolution: Literal[256, 512] = 256
    """Side of the square that frames are resized to; BootsTAPIR is best at 512, at four times the cost."""
    chunk: int = Field(default=96, ge=16)
    """Frames in memory at a time; 96 at 256 x 256 take about 4 GB."""
    overlap: int = Field(default=24, ge=0)
    """Frames by which chunks overlap: each keeps only what has this many half-frames of context beside it."""
    min_visible: float = Field(default=0.25, ge=0, le=1)
    """Share of the points that must show, else the object counts as fully occluded."""

    @model_validator(mode="after")
    def _chunks_advance(self) -> Self:
        if self.overlap >= self.chunk:
            raise ValueError(
                f"chunks of {self.chunk} frames cannot overlap by {self.overlap}: make overlap smaller"
            )
        return self


class ObjectConfig(StageConfig):
    """What decides the tracks."""

    describer: Literal["none", "openai", "transformers"] = "none"
    """Who names the object where the instruction does not; used by grounders that read a phrase."""
    grounder: str = "motion"
    """A key of `registry.GROUNDERS`; used where the data set gives no box."""
    tracker: str = "lucas-kanade"
    """A key of `registry.TRACKERS`."""
    num_keypoints: int = Field(default=8, ge=3, le=256)
    """N_K of the paper, which does not state it."""
    min_score: float = Field(default=0.08, ge=0, le=1)
    """Boxes that the motion grounder scores less are not taken."""
    describe: DescribeConfig = DescribeConfig()
    detector: DetectorConfig = DetectorConfig()
    tapir: TapirConfig = TapirConfig()
