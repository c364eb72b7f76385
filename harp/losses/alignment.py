"""Alignment objectives: pull adapted robot features towards their human partners (paper A.2).

`OBJECTIVES` names them for configuration. Each is a module, so that an objective may bring parameters of its own.

On features of unit length ‖u − v‖² = 2 d(u, v): SR whose hinge is always active is L2 up to a factor. The metrics
therefore hold the share of active hinges.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from harp.losses.config import AlignmentConfig, ObjectiveName


@dataclass(frozen=True)
class PairedFeatures:
    """Pooled features of B pairs, each (B, D) and of unit length; row i of all three belongs to pair i."""

    robot: torch.Tensor
    """f^R, adapted."""
    human: torch.Tensor
    """f^H, frozen."""
    robot_frozen: torch.Tensor
    """f^{R0}: the robot video through the frozen encoder."""


@dataclass(frozen=True)
class AlignmentOutput:
    """Loss and what to log beside it."""

    loss: torch.Tensor
    metrics: dict[str, float]


class Objective(nn.Module):
    """Base: measures distances, delegates the loss of each pair."""

    def __init__(self, config: AlignmentConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, features: PairedFeatures) -> AlignmentOutput:
        """L_align, the mean over pairs. No gradient reaches the frozen features."""
        human, frozen = features.human.detach(), features.robot_frozen.detach()
        # Distances of .02 and margins of .05 drown in bfloat16, whose step just below 1 is .004.
        with torch.autocast(human.device.type, enabled=False):
            distances = 1 - features.robot @ human.T  # [i, j] = d(f_i^R, f_j^H)
        reference = 1 - (frozen * human).sum(-1)  # d(f_i^{R0}, f_i^H)
        losses, metrics = self.pair_losses(distances, reference)
        paired = distances.diagonal()
        metrics["paired_distance"] = paired.mean().item()
        metrics["reference_distance"] = reference.mean().item()
        if len(paired) > 1:
            other = (distances.sum() - paired.sum()) / (len(paired) * (len(paired) - 1))
            metrics["other_distance"] = other.item()
        return AlignmentOutput(losses.mean(), metrics)

    def pair_losses(
        self, distances: torch.Tensor, reference: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """(loss of each pair (B,), metrics) from distances (B, B) robot × human and reference (B,)."""
        raise NotImplementedError


class NoAlignment(Objective):
    """Stage 1 without an alignment term."""

    def pair_losses(
        self, distances: torch.Tensor, reference: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, float]]:
        return torch.zeros_like(reference), {}


class L2(Objective):
    """HARP-L2: ‖f^R − f^H‖² = 2 d⁺."""

    def pair_losses(
        self, distances: torch.Tensor, reference: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, float]]:
        return 2 * distances.diagonal(), {}


class SourceRelative(Objective):
    """HARP-SR: [m_s + d⁺ − d(f^{R0}, f^H)]₊."""

    def pair_losses(
        self, distances: torch.Tensor, reference: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, float]]:
        hinge = (self.config.source_margin + distances.diagonal() - reference).relu()
        return hinge, {"active_sr": (hinge > 0).float().mean().item()}


class SourceRelativePairDiscriminative(SourceRelative):
    """HARP-SRPD: SR + Σ_α λ_α [m_t + d⁺ − d̄^α]₊, where d̄ is the mean distance to the batch's other pairs.

    With B = 1 there are no other pairs and SR alone remains.
    """

    def pair_losses(
        self, distances: torch.Tensor, reference: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, float]]:
        losses, metrics = super().pair_losses(distances, reference)
        B = len(distances)
        if B == 1:
            return losses, metrics
        paired = distances.diagonal()
        margin = self.config.discriminative_margin
        robot_to_human = (margin + paired - (distances.sum(1) - paired) / (B - 1)).relu()
        human_to_robot = (margin + paired - (distances.sum(0) - paired) / (B - 1)).relu()
        losses = losses + self.config.robot_to_human * robot_to_human
        losses = losses + self.config.human_to_robot * human_to_robot
        metrics["active_r2h"] = (robot_to_human > 0).float().mean().item()
        metrics["active_h2r"] = (human_to_robot > 0).float().mean().item()
        return losses, metrics


OBJECTIVES: dict[ObjectiveName, Callable[[AlignmentConfig], Objective]] = {
    "none": NoAlignment,
    "l2": L2,
    "sr": SourceRelative,
    "srpd": SourceRelativePairDiscriminative,
}


def build_objective(config: AlignmentConfig) -> Objective:
    """The objective that a recipe names."""
    return OBJECTIVES[config.objective](config)
