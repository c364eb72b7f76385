"""Cross-embodiment retrieval and paired distance (paper A.4, tables 1 and A3)."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Direction:
    """Every video of one embodiment as a query among all videos of the other."""

    recall_at_1: float
    """Percent of queries whose partner is ranked first."""
    recall_at_5: float
    mrr: float
    """Mean of 1 / rank of the partner."""


@dataclass(frozen=True)
class Retrieval:
    """How well two sets of N video features match pairwise."""

    human_to_robot: Direction
    robot_to_human: Direction
    paired_distances: np.ndarray
    """(N,) cosine distance within each pair."""
    other_distance: float
    """Mean cosine distance between videos of different pairs."""

    @property
    def recall_at_1(self) -> float:
        """Average of both directions, percent."""
        return (self.human_to_robot.recall_at_1 + self.robot_to_human.recall_at_1) / 2

    @property
    def mrr(self) -> float:
        """Average of both directions."""
        return (self.human_to_robot.mrr + self.robot_to_human.mrr) / 2

    @property
    def paired_distance(self) -> float:
        """Mean within pairs."""
        return float(self.paired_distances.mean())


def retrieve(human: np.ndarray, robot: np.ndarray) -> Retrieval:
    """Compare features (N, D); row i of both belongs to pair i.

    A partner that ties with others takes the worst of their ranks, so that constant features score nothing.
    """
    similarity = _unit(human) @ _unit(robot).T
    distances = 1 - np.diag(similarity)
    n = len(similarity)
    other = (n * n - similarity.sum() - distances.sum()) / (n * (n - 1)) if n > 1 else float("nan")
    return Retrieval(_direction(similarity), _direction(similarity.T), distances, float(other))


def _direction(similarity: np.ndarray) -> Direction:
    ranks = (similarity >= np.diag(similarity)[:, None]).sum(1)
    return Direction(
        recall_at_1=100 * float((ranks <= 1).mean()),
        recall_at_5=100 * float((ranks <= 5).mean()),
        mrr=float((1 / ranks).mean()),
    )


def _unit(features: np.ndarray) -> np.ndarray:
    features = features.astype(np.float64)
    return features / np.linalg.norm(features, axis=-1, keepdims=True).clip(1e-12)
