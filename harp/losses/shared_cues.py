"""Shared-cue term L_aux: masked Huber loss on keypoints and on wrist or end effector (paper A.2).

Convention: points are (x, y) as a share of frame width and height.
"""

import torch
from torch.nn.functional import huber_loss

EPSILON = 1e-6


def masked_huber(
    predicted: torch.Tensor, target: torch.Tensor, mask: torch.Tensor, delta: float
) -> torch.Tensor:
    """ℓ_K(X) or ℓ_E(X) of each video (B,): Σ M·H / (Σ M + ε), the sums over a video's frames and points.

    H is torch's Huber loss, averaged over x and y. A video without one visible point gives 0.

    Args:
        predicted: (B, …, 2).
        target: (B, …, 2); may be NaN where masked.
        mask: (B, …) bool.
        delta: error at which the loss turns from quadratic to linear.
    """
    # NaN × 0 is NaN, in the gradient too: replace hidden targets before the loss sees them.
    target = torch.where(mask[..., None], target, predicted.detach().to(target.dtype))
    huber = huber_loss(predicted.to(target.dtype), target, reduction="none", delta=delta).mean(-1)
    weights = mask.to(huber.dtype).flatten(1)
    return (weights * huber.flatten(1)).sum(1) / (weights.sum(1) + EPSILON)
