"""Sizes of HARP-LAM; the defaults are the paper's (table A2) and UniVLA's."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class LatentActionConfig(BaseModel):
    """Every size of the latent action model. What the paper leaves open is marked (open)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = 768
    """Model dimension of encoder and decoder (open; UniVLA's)."""
    heads: int = 12
    encoder_blocks: int = 12
    decoder_blocks: int = 12
    ffn_ratio: int = 4
    dropout: float = Field(default=0.0, ge=0, lt=1)
    residual_decoder: bool = False
    """The decoder predicts what changes between its condition and the target; otherwise the target itself, as
    UniVLA does, which takes thousands of steps until it beats copying the condition."""
    num_queries: int = 4
    """N_q latent-action tokens per transition."""
    latent_dim: int = 128
    """d_q."""
    latents_from: Literal["second", "change"] = "second"
    """What latents are read from: the action queries at the second frame (UniVLA's, the paper's), or what changed there
    between the two frames; why, in `harp.latent_action.model`."""
    normalize_latents: Literal["none", "batch", "embodiment"] = "none"
    """Standardize each latent dimension of each query before quantization, over the batch or over the rows of each
    embodiment in it; why, in `harp.latent_action.normalization`."""
    codebook_size: int = 16
    """K."""
    num_keypoints: int = 8
    """N_K object keypoints per frame (open)."""
    quantize_after: float = Field(default=0.0, ge=0, lt=1)
    """Share of the training steps before quantization begins: until then the decoder reads the latents themselves, which
    codes follow but do not draw to them; why, in `harp.latent_action.quantizer`."""
    dead_after: int = 20
    """A code that no latent chose for so many steps is moved to where latents are."""
