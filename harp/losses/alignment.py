"""Alignment objectives: pull adapted robot features towards their human partners (paper A.2).

`OBJECTIVES` names them for configuration. Each pools the three streams (`pool`) and scores the pooled pairs
(`forward`); between the two, a training on many workers gathers the pairs of all of them, so that everyone's pairs are
everyone's negatives.

On features of unit length ‖u − v‖² = 2 d(u, v): SR whose hinge is always active is L2 up to a factor. The metrics
therefore hold the share of active hinges.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from harp.losses.config import AlignmentConfig, ObjectiveName
from harp.losses.contrastive import human_robot_contrast
from harp.losses.features import PairedFeatures, PairStreams
from harp.losses.pooling import MeanPooling, TaskAwarePooling

Metrics = dict[str, torch.Tensor]


@dataclass(frozen=True)
class AlignmentOutput:
    """Loss of each pair and what to log beside it."""

    losses: torch.Tensor
    """(B,)."""
    metrics: Metrics
    """Scalars without gradient."""

    @property
    def loss(self) -> torch.Tensor:
        """L_align, the mean over pairs."""
        return self.losses.mean()


class Objective(nn.Module):
    """Base: pools by ρ and measures distances; what a pair loses is up to the subclass."""

    task_aware = False
    """Pools patch tokens by attention of the instruction instead of their means."""

    def __init__(self, config: AlignmentConfig, vision_dim: int, text_dim: int) -> None:
        super().__init__()
        self.config = config
        self.pooling = TaskAwarePooling(text_dim, vision_dim) if self.task_aware else MeanPooling()

    def pool(self, streams: PairStreams) -> PairedFeatures:
        """Video features. No gradient reaches the frozen tokens; a pooling that learns does so from all three."""
        return PairedFeatures(
            robot=self.pooling(streams.robot, streams.text),
            human=self.pooling(streams.human.detach(), streams.text),
            robot_frozen=self.pooling(streams.robot_frozen.detach(), streams.text),
        )

    def forward(self, features: PairedFeatures) -> AlignmentOutput:
        """Losses of B pairs, each the other's negative."""
        # Distances of .02 and margins of .05 drown in bfloat16, whose step just below 1 is .004.
        with torch.autocast(features.human.device.type, enabled=False):
            distances = 1 - features.robot @ features.human.T  # [i, j] = d(f_i^R, f_j^H)
        reference = 1 - (features.robot_frozen * features.human).sum(-1)  # d(f_i^{R0}, f_i^H)
        losses, metrics = self.pair_losses(distances, reference)
        paired = distances.diagonal()
        metrics |= {"paired_distance": paired.mean(), "reference_distance": reference.mean()}
        if len(paired) > 1:
            metrics["other_distance"] = others_mean(distances).mean()
        return AlignmentOutput(losses, {name: value.detach() for name, value in metrics.items()})

    def pair_losses(self, distances: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, Metrics]:
        """(loss of each pair (B,), metrics) from distances (B, B) robot × human and reference (B,)."""
        raise NotImplementedError


class NoAlignment(Objective):
    """Stage 1 without an alignment term."""

    def pair_losses(self, distances: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, Metrics]:
        return torch.zeros_like(reference), {}


class HRStyle(Objective):
    """HARP-HR-Style: the contrastive loss of HR-Align on ρ features."""

    def pair_losses(self, distances: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, Metrics]:
        return human_robot_contrast(1 - distances, 1 - reference, self.config.temperature), {}


class HR(HRStyle):
    """HARP-HR: the same on features that the instruction pools."""

    task_aware = True


class L2(Objective):
    """HARP-L2: ‖f^R − f^H‖² = 2 d⁺."""

    def pair_losses(self, distances: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, Metrics]:
        return 2 * distances.diagonal(), {}


class SourceRelative(Objective):
    """HARP-SR: [m_s + d⁺ − d(f^{R0}, f^H)]₊."""

    def pair_losses(self, distances: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, Metrics]:
        hinge = (self.config.source_margin + distances.diagonal() - reference).relu()
        return hinge, {"active_sr": (hinge > 0).float().mean()}


class SourceRelativePairDiscriminative(SourceRelative):
    """HARP-SRPD: SR + Σ_α λ_α [m_t + d⁺ − d̄^α]₊, where d̄ is the mean distance to the batch's other pairs.

    With B = 1 there are no other pairs and SR alone remains. `negative_temperature` takes harder negatives than the mean.
    """

    def pair_losses(self, distances: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, Metrics]:
        losses, metrics = super().pair_losses(distances, reference)
        if len(distances) == 1:
            return losses, metrics
        to_beat = self.config.discriminative_margin + distances.diagonal()
        robot_to_human = (to_beat - self._negative(distances)).relu()
        human_to_robot = (to_beat - self._negative(distances.T)).relu()
        losses = losses + self.config.robot_to_human * robot_to_human
        losses = losses + self.config.human_to_robot * human_to_robot
        metrics["active_r2h"] = (robot_to_human > 0).float().mean()
        metrics["active_h2r"] = (human_to_robot > 0).float().mean()
        return losses, metrics

    def _negative(self, distances: torch.Tensor) -> torch.Tensor:
        T = self.config.negative_temperature
        if T is None:
            return others_mean(distances)
        itself = torch.eye(len(distances), dtype=torch.bool, device=distances.device)
        others = distances.masked_fill(itself, torch.inf)
        if T == 0:
            return others.amin(1)
        return -T * (torch.logsumexp(-others / T, 1) - math.log(len(others) - 1))


def others_mean(distances: torch.Tensor) -> torch.Tensor:
    """(B,) mean of each row of (B, B) without its diagonal; B > 1."""
    return (distances.sum(1) - distances.diagonal()) / (len(distances) - 1)


OBJECTIVES: dict[ObjectiveName, type[Objective]] = {
    "none": NoAlignment,
    "hr": HR,
    "hr_style": HRStyle,
    "l2": L2,
    "sr": SourceRelative,
    "srpd": SourceRelativePairDiscriminative,
}


def build_objective(config: AlignmentConfig, vision_dim: int, text_dim: int) -> Objective:
    """The objective that a recipe names."""
    return OBJECTIVES[config.objective](config, vision_dim, text_dim)
