"""Video-level pooling: ρ of the paper, and the task-aware pooling of HR-Align.

Shapes: B videos, F frames, P patches (1 where only patch means are kept), D feature dimension, E text dimension.
"""

import math

import torch
from torch import nn
from torch.nn.functional import normalize


def pool_patches(tokens: torch.Tensor) -> torch.Tensor:
    """Patch tokens (…, P, D) → frame features (…, D), float32 at least."""
    return tokens.mean(-2, dtype=torch.promote_types(tokens.dtype, torch.float32))


def pool_frames(frame_features: torch.Tensor) -> torch.Tensor:
    """Frame features (…, F, D) → video features (…, D) of unit length."""
    return normalize(frame_features.mean(-2), dim=-1)


class MeanPooling(nn.Module):
    """ρ: patch mean, frame mean, unit length (A.2, A.4). The text is not used."""

    def forward(self, tokens_BFPD: torch.Tensor, text_BE: torch.Tensor) -> torch.Tensor:
        return pool_frames(pool_patches(tokens_BFPD))


class TaskAwarePooling(nn.Module):
    """The instruction attends to all places of all frames (HR-Align, arXiv 2406.14235).

    A learned linear layer turns the frozen sentence embedding into a query l; the feature is zᵀ softmax(z l / √D) over
    the F·P positions, at unit length. HR-Align's description has no √D: without it the weights of a ViT, whose
    tokens are tens long, start out at a single patch.
    """

    def __init__(self, text_dim: int, vision_dim: int) -> None:
        super().__init__()
        self.to_query = nn.Linear(text_dim, vision_dim)

    def forward(self, tokens_BFPD: torch.Tensor, text_BE: torch.Tensor) -> torch.Tensor:
        """(B, F, P, D), (B, E) → (B, D)."""
        with torch.autocast(tokens_BFPD.device.type, enabled=False):
            weight = self.to_query.weight
            tokens_BND = tokens_BFPD.flatten(1, 2).to(weight.dtype)
            query_BD = self.to_query(text_BE.to(weight.dtype))
            logits_BN = torch.einsum("bnd,bd->bn", tokens_BND, query_BD) / math.sqrt(tokens_BND.shape[-1])
            return normalize(torch.einsum("bnd,bn->bd", tokens_BND, logits_BN.softmax(-1)), dim=-1)
