"""The three streams of a batch of pairs, before and after pooling.

Shapes: B pairs, F frames, P patches, D feature dimension, E text dimension; row i of everything belongs to pair i.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class PairStreams:
    """Frames of B pairs as patch tokens (B, F, P, D); P = 1 where an objective needs patch means only."""

    robot: torch.Tensor
    """Z_R, adapted."""
    human: torch.Tensor
    """Z_H, frozen."""
    robot_frozen: torch.Tensor
    """Z_{R0}: the robot video through the frozen encoder."""
    text: torch.Tensor
    """(B, E) frozen sentence embeddings of the instructions."""


@dataclass(frozen=True)
class PairedFeatures:
    """Pooled features of B pairs, each (B, D) and of unit length."""

    robot: torch.Tensor
    """f^R, adapted."""
    human: torch.Tensor
    """f^H, frozen."""
    robot_frozen: torch.Tensor
    """f^{R0}."""
