"""Do human and robot motions get the same latent actions? Retrieval and code agreement on held-out pairs.

A video is described by the quantized latent actions of M transitions at evenly spaced times, all of the same horizon
Δ; human and robot transitions of a pair begin and end at aligned frames. The paper reports a latent-action R@1
and a "code-agreement gap" without defining them; here

- **latent-action R@1** takes the M · N_q code vectors of a video, flattened in order of time and ℓ2-normalized, and
  retrieves as with visual features: each video is one query, both directions are averaged. Quantized features
  tie often, and a tie counts as a miss;
- **code agreement** of two videos is the share of the M · N_q places at which their codes are equal. The **gap** is its
  mean over true pairs less its mean over all other human–robot combinations: codes that say nothing but the
  embodiment, or that are all the same, have a gap of 0;
- **motion explained**: see `harp.evaluation.motion`;
- **agreement over time** is the mean share of equal codes between two transitions of one video. Near 100 % the codes say
  which task or scene it is, not what moves: such codes agree within pairs, too, and teach a policy nothing.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from harp.evaluation.intervals import Estimate, bootstrap_mean
from harp.evaluation.motion import motion_explained
from harp.evaluation.retrieval import Retrieval, retrieve
from harp.latent_action.quantizer import code_usage


@dataclass(frozen=True)
class Codebook:
    """What the codes of a latent action model stand for."""

    rows: np.ndarray
    """(books · K, d)."""
    books: int = 1
    """1, or the number of queries: see `harp.latent_action.quantizer`."""

    def __len__(self) -> int:
        """K."""
        return len(self.rows) // self.books

    def places(self, codes: np.ndarray) -> np.ndarray:
        """Rows of codes (…, Q)."""
        return codes + len(self) * np.arange(codes.shape[-1]) * (self.books > 1)

    def vectors(self, codes: np.ndarray) -> np.ndarray:
        """(…, Q, d) quantized latents of codes (…, Q)."""
        vectors = self.rows[self.places(codes)].astype(np.float64)
        return vectors.cumsum(-2) if self.books > 1 else vectors


@dataclass(frozen=True)
class LatentAlignment:
    """Latent actions of N pairs compared."""

    retrieval: Retrieval
    agreement: np.ndarray
    """(N,) code agreement within each pair, percent."""
    other_agreement: np.ndarray
    """(N,) mean code agreement of each pair's two videos with the other pairs' videos, percent."""
    agreement_over_time: float
    """Mean code agreement of two transitions of the same video, percent."""
    motion_explained: float | None
    """Percent of the robots' wrist displacement that codes fitted on people's explain; None where none is known."""
    usage: float
    """Share of the codebook that occurs."""
    perplexity: float
    """exp of the entropy of the codes."""

    @property
    def gap(self) -> Estimate:
        """Code-agreement gap in points, with its interval."""
        return bootstrap_mean(self.agreement - self.other_agreement)

    def to_json(self) -> dict[str, Any]:
        """JSON-compatible content, with the values of every pair."""
        gap = self.gap
        return {
            "retrieval": self.retrieval.to_json(),
            "agreement": self.agreement.tolist(),
            "other_agreement": self.other_agreement.tolist(),
            "gap": gap.mean,
            "gap_interval": [gap.low, gap.high],
            "agreement_over_time": self.agreement_over_time,
            "motion_explained": self.motion_explained,
            "usage": self.usage,
            "perplexity": self.perplexity,
        }

    @staticmethod
    def from_json(content: dict[str, Any]) -> "LatentAlignment":
        """Inverse of `to_json`."""
        return LatentAlignment(
            Retrieval.from_json(content["retrieval"]),
            np.array(content["agreement"]),
            np.array(content["other_agreement"]),
            content["agreement_over_time"],
            content["motion_explained"],
            content["usage"],
            content["perplexity"],
        )


def latent_features(codes: np.ndarray, codebook: Codebook) -> np.ndarray:
    """Codes (N, M, Q) → the ℓ2-normalized flattened quantized latents (N, M · Q · d) of each video (A.4)."""
    features = codebook.vectors(codes).reshape(len(codes), -1)
    return features / np.linalg.norm(features, axis=-1, keepdims=True).clip(1e-12)


def agreement_over_time(codes: np.ndarray) -> float:
    """Percent of equal codes between two different transitions of a video, over all such pairs of codes (N, M ≥ 2, Q)."""
    M = codes.shape[1]
    equal = codes[:, :, None] == codes[:, None]
    return float(100.0 * (equal.mean((0, 3)).sum() - M) / (M * (M - 1)))


def compare_latents(
    human: np.ndarray,
    robot: np.ndarray,
    codebook: Codebook,
    motion: tuple[np.ndarray, np.ndarray] | None = None,
) -> LatentAlignment:
    """Compare the codes (N, M, Q) of the human and robot videos of N ≥ 2 pairs.

    Args:
        motion: (N, M, 2) displacements of human and robot wrists, NaN where unknown; or not looked at.
    """
    N = len(human)
    flat_human, flat_robot = human.reshape(N, -1), robot.reshape(N, -1)
    agreement = 100.0 * np.stack([(one == flat_robot).mean(1) for one in flat_human])
    paired = agreement.diagonal()
    others = agreement.sum(0) + agreement.sum(1) - 2 * paired
    used = torch.from_numpy(codebook.places(np.concatenate((human, robot))))
    usage, perplexity = code_usage(used, len(codebook.rows))
    return LatentAlignment(
        retrieve(latent_features(human, codebook), latent_features(robot, codebook)),
        paired.copy(),
        others / (2 * (N - 1)),
        agreement_over_time(np.concatenate((human, robot))),
        motion_explained(human, motion[0], robot, motion[1], len(codebook)) if motion else None,
        usage,
        perplexity,
    )
