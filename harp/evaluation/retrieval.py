"""Cross-embodiment retrieval and paired distance (paper A.4, tables 1 and A3)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import hypergeom

from harp.evaluation.intervals import Estimate, bootstrap_mean


@dataclass(frozen=True)
class Direction:
    """Every video of one embodiment as a query among all videos of the other."""

    ranks: np.ndarray
    """(N,) rank of each query's partner, 1 is first."""

    @property
    def recall_at_1(self) -> float:
        """Percent of queries whose partner is ranked first."""
        return 100 * float((self.ranks <= 1).mean())

    def recall_at_1_among(self, candidates: int) -> float:
        """Recall at 1 if each query had its partner and `candidates` - 1 others drawn from the rest, in percent on average.

        More candidates make retrieval harder; this makes sets of different sizes compare, without choosing pairs.

        Raises:
            ValueError: there are fewer pairs, or less than one candidate.
        """
        if not 1 <= candidates <= len(self.ranks):
            raise ValueError(f"{candidates} candidates of {len(self.ranks)} pairs")
        others = len(self.ranks) - 1
        none_nearer = hypergeom.pmf(0, others, self.ranks - 1, candidates - 1)  # is among those drawn
        return 100 * float(np.mean(none_nearer))

    @property
    def recall_at_5(self) -> float:
        """Percent."""
        return 100 * float((self.ranks <= 5).mean())

    @property
    def mrr(self) -> float:
        """Mean of 1 / rank of the partner."""
        return float((1 / self.ranks).mean())

    def to_json(self) -> dict[str, Any]:
        """Ranks and what follows from them."""
        figures = {name: getattr(self, name) for name in ("recall_at_1", "recall_at_5", "mrr")}
        return {**figures, "ranks": self.ranks.tolist()}


@dataclass(frozen=True)
class Retrieval:
    """How well two sets of N video features match pairwise."""

    human_to_robot: Direction
    robot_to_human: Direction
    paired_distances: np.ndarray
    """(N,) cosine distance within each pair."""
    other_distances: np.ndarray
    """(N,) mean cosine distance of each pair's two videos to the other pairs' videos of the other embodiment."""

    @property
    def hits(self) -> np.ndarray:
        """(N,) R@1 of each pair in percent: 0, 50 or 100, the mean of both directions."""
        return 50.0 * ((self.human_to_robot.ranks <= 1).astype(int) + (self.robot_to_human.ranks <= 1))

    @property
    def recall_at_1(self) -> float:
        """Average of both directions, percent."""
        return (self.human_to_robot.recall_at_1 + self.robot_to_human.recall_at_1) / 2

    def recall_at_1_among(self, candidates: int) -> float:
        """Average of both directions, see `Direction.recall_at_1_among`."""
        sides = (self.human_to_robot, self.robot_to_human)
        return sum(side.recall_at_1_among(candidates) for side in sides) / 2

    @property
    def recall_at_1_interval(self) -> Estimate:
        """Average of both directions over pairs drawn anew."""
        return bootstrap_mean(self.hits)

    @property
    def recall_at_5(self) -> float:
        """Average of both directions, percent."""
        return (self.human_to_robot.recall_at_5 + self.robot_to_human.recall_at_5) / 2

    @property
    def mrr(self) -> float:
        """Average of both directions."""
        return (self.human_to_robot.mrr + self.robot_to_human.mrr) / 2

    @property
    def paired_distance(self) -> float:
        """Mean within pairs."""
        return float(self.paired_distances.mean())

    @property
    def other_distance(self) -> float:
        """Mean between videos of different pairs."""
        return float(self.other_distances.mean())

    def to_json(self) -> dict[str, Any]:
        """JSON-compatible content, with the values of every pair."""
        interval = self.recall_at_1_interval
        return {
            "human_to_robot": self.human_to_robot.to_json(),
            "robot_to_human": self.robot_to_human.to_json(),
            "recall_at_1": self.recall_at_1,
            "recall_at_1_interval": [interval.low, interval.high],
            "recall_at_5": self.recall_at_5,
            "mrr": self.mrr,
            "paired_distance": self.paired_distance,
            "other_distance": self.other_distance,
            "paired_distances": self.paired_distances.tolist(),
            "other_distances": self.other_distances.tolist(),
        }

    @staticmethod
    def from_json(content: dict[str, Any]) -> "Retrieval":
        """Inverse of `to_json`."""
        return Retrieval(
            Direction(np.array(content["human_to_robot"]["ranks"])),
            Direction(np.array(content["robot_to_human"]["ranks"])),
            np.array(content["paired_distances"]),
            np.array(content["other_distances"]),
        )


def retrieve(human: np.ndarray, robot: np.ndarray) -> Retrieval:
    """Compare features (N, D), N ≥ 2; row i of both belongs to pair i.

    A partner that ties with others takes the worst of their ranks, so that constant features score nothing.
    """
    similarity = _unit(human) @ _unit(robot).T
    # Equal vectors may differ in the last bit of their products, which depends on their place in the matrix.
    similarity = similarity.round(12)
    paired = 1 - np.diag(similarity)
    others = (1 - similarity).sum(0) + (1 - similarity).sum(1) - 2 * paired
    directions = _direction(similarity), _direction(similarity.T)
    return Retrieval(*directions, paired, others / (2 * (len(paired) - 1)))


def _direction(similarity: np.ndarray) -> Direction:
    return Direction((similarity >= np.diag(similarity)[:, None]).sum(1))


def _unit(features: np.ndarray) -> np.ndarray:
    features = features.astype(np.float64)
    return features / np.linalg.norm(features, axis=-1, keepdims=True).clip(1e-12)
