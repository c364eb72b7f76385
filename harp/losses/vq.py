"""VQ term of L_lam: codebook loss and commitment loss (paper A.2)."""

import torch


def vq_loss(latents: torch.Tensor, code_vectors: torch.Tensor, commitment: float = 0.25) -> torch.Tensor:
    """‖sg[a] − q‖² + β ‖a − sg[q]‖², both as means over elements.

    Args:
        latents: (…, d) a; the commitment part moves them towards their codes.
        code_vectors: (…, d) q as rows of the codebook (not straight-through); the first part moves them.
        commitment: β.
    """
    latents, code_vectors = latents.float(), code_vectors.float()
    codebook = (latents.detach() - code_vectors).square().mean()
    return codebook + commitment * (latents - code_vectors.detach()).square().mean()
