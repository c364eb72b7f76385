"""Sizes of HARP-LAM; the defaults are the paper's (table A2) and UniVLA's."""

from typing import Literal

from pydantic import Field, model_validator

from data_schemas.strict_model import StrictModel


class LatentActionConfig(StrictModel):
    """Every size of the latent action model. What the paper leaves open is marked (open)."""

    width: int = Field(default=768, gt=0)
    """Model dimension of encoder and decoder (open; UniVLA's)."""
    heads: int = Field(default=12, gt=0)
    encoder_blocks: int = Field(default=12, gt=0)
    decoder_blocks: int = Field(default=12, gt=0)
    ffn_ratio: int = Field(default=4, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    residual_decoder: bool = False
    """The decoder predicts what changes between its condition and the target; otherwise the target itself, as
    UniVLA does, which takes thousands of steps until it beats copying the condition."""
    num_queries: int = Field(default=4, gt=0)
    """N_q latent-action tokens per transition."""
    latent_dim: int = Field(default=128, gt=0)
    """d_q."""
    latents_from: Literal["second", "change"] = "second"
    """What latents are read from: the action queries at the second frame (UniVLA's, the paper's), or what changed there
    between the two frames; why, in `harp.latent_action.model`."""
    normalize_latents: Literal["none", "batch", "embodiment"] = "none"
    """Standardize each latent dimension of each query before quantization, over the batch or over the rows of each
    embodiment in it; why, in `harp.latent_action.normalization`."""
    codebook_size: int = Field(default=16, gt=1)
    """K."""
    codebooks: Literal["shared", "residual"] = Field(default="shared", exclude_if="shared".__eq__)
    """One codebook for all queries (the paper's), or one for each, which codes what the queries before it left unsaid; why,
    in `harp.latent_action.model`. Written down only if it is not the default, so that older runs stay what they are."""
    num_keypoints: int = Field(default=8, gt=0)
    """N_K object keypoints per frame (open)."""
    quantize_after: float = Field(default=0.0, ge=0, lt=1)
    """Share of the training steps before quantization begins: until then the decoder reads the latents themselves, which
    codes follow but do not draw to them; why, in `harp.latent_action.quantizer`."""
    dead_after: int = Field(default=20, gt=0)
    """A code that no latent chose for so many steps is moved to where latents are."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "LatentActionConfig":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")
        return self
