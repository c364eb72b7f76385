"""VQ term of L_lam: codebook loss and commitment loss (paper A.2)."""

import torch


def vq_loss(latents: torch.Tensor, code_vectors: torch.Tensor, commitment: float = 0.25) -> torch.Tensor:
    """‖sg[a] − q‖² + β ‖a − sg[q]‖² of each transition (B,), both as means over elements.

    Args:
        latents: (B, Q, d) a; the commitment part moves them towards their codes.
        code_vectors: (B, Q, d) q as rows of the codebook (not straight-through); the first part moves them.
        commitment: β.
    """
    latents, code_vectors = latents.float(), code_vectors.float()
    codebook = (latents.detach() - code_vectors).square().mean((1, 2))
    return codebook + commitment * (latents - code_vectors.detach()).square().mean((1, 2))
