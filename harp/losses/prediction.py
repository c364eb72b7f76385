"""Prediction term of L_lam: how far the predicted patch tokens are from the true ones (paper A.2)."""

import torch


def prediction_loss(
    predicted: torch.Tensor, target: torch.Tensor, detach_target: bool = True
) -> torch.Tensor:
    """‖Ŷ − Y‖² of each transition (B,), divided by the number of its elements.

    The mean instead of the sum keeps the weight of this term independent of resolution and feature width.

    Args:
        predicted: (B, P, V) Ŷ.
        target: (B, P, V) Y.
        detach_target: let no gradient flow into the target.
    """
    if detach_target:
        target = target.detach()
    return (predicted.float() - target.float()).square().mean((1, 2))
