"""Configuration of stage 1: everything that a run's result depends on."""

from pydantic import Field, model_validator

from data_schemas.strict_model import StrictModel
from harp.data.config import DataConfig
from harp.latent_action.config import LatentActionConfig
from harp.losses.config import LossConfig
from harp.precision import Precision, native_precision
from harp.training.routes import PairedPrediction, SinglePrediction
from harp.vision.config import VisionConfig


class TextConfig(StrictModel):
    """Frozen text encoder of the instructions."""

    model: str = "t5-base"
    """A model of `harp weights list`, or a local folder."""
    max_tokens: int = Field(default=64, ge=4)


class OptimizationConfig(StrictModel):
    """AdamW with linear warm-up and cosine decay to zero: what the training loop reads."""

    steps: int = Field(gt=0)
    learning_rate: float = Field(default=1e-4, gt=0)
    """Of what a stage trains in the first place: the latent action model, the policy."""
    weight_decay: float = Field(default=1e-2, ge=0)
    """Adapters and codebook have none."""
    warmup_steps: int = Field(default=10, ge=0)
    gradient_clip: float = Field(default=1.0, gt=0)
    """Largest gradient norm of each group of parameters on its own, so that in stage 1 a large prediction loss does
    not slow the alignment."""
    accumulate: int = Field(default=1, gt=0)
    """Micro-batches that a batch is cut into on each worker, to fit into memory. Exact but, in stage 1, for what reaches
    across clips: the alignment's negatives and the normalization of latents are then those of a micro-batch."""
    precision: Precision = Field(default_factory=native_precision)
    """bf16: autocast of the forward pass. What is trained is float32 in either case. `auto`: bf16 if the machine that
    starts the run has it; a recipe for workers elsewhere should name its own."""
    checkpoint_every: int = Field(default=50, gt=0)
    """Steps."""


class PolicyTrainingConfig(OptimizationConfig):
    """Optimization of stages 2 and 3."""

    sharding: bool = False
    """On several workers, keep a share of weights, gradients and AdamW moments on each (FSDP) instead of all on every
    one (DDP): slower, for policies that do not fit."""


class TrainingConfig(OptimizationConfig):
    """Optimization of stage 1."""

    adapter_learning_rate: float = Field(default=1e-4, gt=0)
    codebook_learning_rate: float | None = Field(default=None, gt=0)
    """`learning_rate` by default. AdamW moves a code by about the rate in a step, so that where latents are standardized,
    to a scale of 1, codes follow them only at a higher one."""
    human_token_cache_gb: float = Field(default=1.0, ge=0)
    """Patch tokens of the human frames are kept on disk if they fit in here, else computed at every step."""


class Stage1Config(StrictModel):
    """HARP-VE and HARP-LAM, trained together (paper §3.2)."""

    seed: int = Field(default=0, ge=0)
    vision: VisionConfig
    text: TextConfig
    latent_action: LatentActionConfig | None
    """None trains the adapters by the alignment objective alone, as the HR and HR-Style rows of the paper do."""
    data: DataConfig
    losses: LossConfig
    paired_prediction: PairedPrediction = "cross"
    """What pairs predict: the partner's future (the paper), their own, or both."""
    single_prediction: SinglePrediction = "self"
    """What demonstrations without partner predict: their own future (the paper), or nothing; their cues are
    predicted in either case."""
    training: TrainingConfig
    evaluation_frames: int = Field(default=8, ge=2)
    """Frames per clip, evenly spaced, that evaluation pools (A.4), and transitions whose latent actions it compares."""

    @model_validator(mode="after")
    def _trains_something(self) -> "Stage1Config":
        if self.latent_action is None and (
            self.losses.alignment.objective == "none" or not self.data.pairs_per_batch
        ):
            raise ValueError(
                "without latent_action there must be an alignment objective and pairs to train on"
            )
        return self
