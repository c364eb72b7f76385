"""The contrastive loss of HR-Align (CVPR 2025, arXiv 2406.14235), whose code was not released.

With M pairs and S(x, y) = exp(cos(x, y) / τ), pair i loses half of

    −log S(h_i, r_i) / [S(h_i, r_i) + S(h_i, r⁰_i) + Σ_{j≠i} S(h_i, r_j)]
    −log S(r_i, h_i) / [S(r_i, h_i) + Σ_{j≠i} S(r_i, h_j)]

where r⁰_i is the frozen robot feature of the same pair. Two things are not known of the original and chosen here:
features have unit length, without which τ = 0.1 explodes; and the second term has no frozen negative, since the human
stream has no adapted twin.
"""

import torch
from torch.nn.functional import cross_entropy


def human_robot_contrast(
    similarity: torch.Tensor, frozen_similarity: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Loss of each pair (B,).

    Args:
        similarity: (B, B) cos(r_i, h_j).
        frozen_similarity: (B,) cos(r⁰_i, h_i).
        temperature: τ.
    """
    target = torch.arange(len(similarity), device=similarity.device)
    of_human = torch.cat((similarity.T, frozen_similarity[:, None]), dim=1) / temperature
    of_robot = similarity / temperature
    return (
        cross_entropy(of_human, target, reduction="none") + cross_entropy(of_robot, target, reduction="none")
    ) / 2
