"""What a trained run makes of pairs: T_θ(R), and the latent actions of both sides with and without adapters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch

from harp.data.shards import ShardReader
from harp.evaluation.features import FrozenPairs, transition_tokens, video_feature
from harp.evaluation.frames import Planned, read_frames
from harp.evaluation.latent import Codebook
from harp.evaluation.motion import wrist_displacements
from harp.latent_action.language import FrozenTextEncoder
from harp.latent_action.model import LatentActionModel
from harp.training.config import Stage1Config
from harp.training.stage1_models import load_latent_action
from harp.vision.encoder import HarpVisionEncoder


@dataclass(frozen=True)
class Codes:
    """Latent actions of N pairs at M transitions, (N, M, Q) int64 each."""

    human: np.ndarray
    """From F(H)."""
    robot_frozen: np.ndarray
    """From F(R), by the same model."""
    robot: np.ndarray
    """From T_θ(R)."""
    codebook: Codebook
    human_motion: np.ndarray
    """(N, M, 2) displacement of the wrist over each transition, NaN where it is not visible."""
    robot_motion: np.ndarray
    """The same of the end effector."""


@dataclass(frozen=True)
class AdaptedPairs:
    """What changes from run to run."""

    robot: np.ndarray
    """(N, D) float64 T_θ(R)."""
    codes: Codes | None
    """None where the run trained no latent action model."""


class LatentActionReader:
    """HARP-LAM of a finished run, from transitions to codes."""

    def __init__(self, model: LatentActionModel, text: FrozenTextEncoder, device: torch.device) -> None:
        self._model, self._text, self._device = model, text, device

    @classmethod
    def open(cls, run: Path, config: Stage1Config, vision_dim: int, device: torch.device) -> Self | None:
        """The model of a run, or None where it trained none."""
        if config.latent_action is None:
            return None
        return cls(*load_latent_action(run, config, vision_dim, device), device)

    @property
    def codebook(self) -> Codebook:
        """What the codes stand for."""
        return Codebook(self._model.vq.codebook.weight.detach().cpu().numpy(), self._model.vq.books)

    def codes(self, z_B2PV: torch.Tensor, is_robot_B: torch.Tensor, instruction: str) -> np.ndarray:
        """(B, Q) codes of the transitions of one pair."""
        language = self._text.encode([instruction] * len(z_B2PV))
        return self._model.encode(z_B2PV.to(self._device), language, is_robot_B).codes.cpu().numpy()


@torch.no_grad()
def adapted_pairs(
    encoder: HarpVisionEncoder,
    latent_actions: LatentActionReader | None,
    reader: ShardReader,
    pairs: Sequence[Planned],
    frozen: FrozenPairs,
    precision: str,
    progress: Callable[[int, int], None] | None = None,
) -> AdaptedPairs:
    """Run the adapted encoder over the robot videos, and the latent action model over all transitions."""
    device = next(encoder.parameters()).device
    videos, codes = [], []
    for index, (pair, plan) in enumerate(pairs):
        if progress:
            progress(index, len(pairs))
        images = encoder.preprocess(read_frames(reader, pair, "robot", plan.frames).to(device))
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            tokens = encoder.adapted(images).cpu()
            videos.append(video_feature(tokens, plan))
            if latent_actions is not None:
                adapted = transition_tokens(tokens, plan).to(torch.bfloat16).float()  # as the frozen ones
                z = torch.cat((*frozen.tokens(index), adapted))  # human, robot, robot again
                is_robot = torch.arange(len(z)) >= len(adapted)
                found = latent_actions.codes(z, is_robot, pair.instruction)
                codes.append(found.reshape(3, len(plan.transitions), -1))
    if progress:
        progress(len(pairs), len(pairs))
    robot = torch.stack(videos).numpy()
    if latent_actions is None:
        return AdaptedPairs(robot, None)
    human, robot_frozen, robot_adapted = np.stack(codes, axis=1)
    motion = (wrist_displacements(reader, pairs, side) for side in ("human", "robot"))
    return AdaptedPairs(robot, Codes(human, robot_frozen, robot_adapted, latent_actions.codebook, *motion))
