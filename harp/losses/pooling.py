"""ρ, the video-level pooling of the paper: patch mean, frame mean, unit length (A.2, A.4)."""

import torch
from torch.nn.functional import normalize


def pool_patches(tokens: torch.Tensor) -> torch.Tensor:
    """Patch tokens (…, P, D) → frame features (…, D), float32 at least."""
    return tokens.mean(-2, dtype=torch.promote_types(tokens.dtype, torch.float32))


def pool_frames(frame_features: torch.Tensor) -> torch.Tensor:
    """Frame features (…, F, D) → video features (…, D) of unit length."""
    return normalize(frame_features.mean(-2), dim=-1)
