"""Features of pairs by the frozen encoder, F(H) and F(R), kept on disk (paper A.4).

They depend on the version, the encoder and the frames, not on what was trained: the runs of a comparison share them.
Kept are the pooled video features, the mean colours that need no network, and the patch tokens of the transitions,
which each run's latent action model reads anew.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import save_file

from data_schemas.identity import content_id
from data_schemas.whole_files import replacing
from harp.data.frozen_features import Encode
from harp.data.shards import ShardReader
from harp.evaluation.frames import FramePlan, Planned, read_frames
from harp.losses.pooling import pool_frames, pool_patches

logger = logging.getLogger(__name__)

COLOUR_GRID = 8


@dataclass(frozen=True)
class FrozenPairs:
    """Features of N pairs; the arrays are (N, D) float64."""

    human: np.ndarray
    """F(H)."""
    robot: np.ndarray
    """F(R)."""
    human_colour: np.ndarray
    robot_colour: np.ndarray
    path: Path

    def tokens(self, index: int) -> torch.Tensor:
        """(2, M, 2, P, D) patch tokens of the human's and the robot's transitions of one pair."""
        with safe_open(self.path, "pt") as file:
            return file.get_tensor(f"tokens.{index}").float()


def frozen_pairs(
    encode: Encode,
    reader: ShardReader,
    pairs: Sequence[Planned],
    *,
    identity: str,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> FrozenPairs:
    """Features of the pairs, read from `folder` or computed and kept there.

    Args:
        encode: F(·) of uint8 frames.
        identity: of version, encoder and precision.
        folder: where features of all versions and encoders are kept.
        progress: called with (pairs done, pairs in all) where they have to be computed.
    """
    wanted = (f"{pair.subject_id} {plan}" for pair, plan in pairs)
    key = content_id("evaluation-features", identity, *wanted)
    path = folder / "evaluation" / f"{key}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # runs of a comparison are evaluated side by side
        if not path.is_file():
            logger.info("Frozen features of %d pairs go to %s", len(pairs), path)
            features = _compute(encode, reader, pairs, progress)
            with replacing(path) as draft:
                save_file(features, draft)
    with safe_open(path, "pt") as file:
        names = ("human", "robot", "human_colour", "robot_colour")
        return FrozenPairs(path=path, **{name: file.get_tensor(name).numpy() for name in names})


def _compute(
    encode: Encode,
    reader: ShardReader,
    pairs: Sequence[Planned],
    progress: Callable[[int, int], None] | None,
) -> dict[str, torch.Tensor]:
    rows: dict[str, list[torch.Tensor]] = {}
    tensors = {}
    for index, (pair, plan) in enumerate(pairs):
        if progress:
            progress(index, len(pairs))
        transitions = []
        for side in ("human", "robot"):
            frames = read_frames(reader, pair, side, plan.frames)
            tokens = encode(frames)
            rows.setdefault(side, []).append(video_feature(tokens, plan))
            colour = mean_colour(frames[list(plan.video)].numpy())
            rows.setdefault(f"{side}_colour", []).append(torch.from_numpy(colour))
            transitions.append(transition_tokens(tokens, plan))
        if plan.transitions:
            tensors[f"tokens.{index}"] = torch.stack(transitions).bfloat16()
    if progress:
        progress(len(pairs), len(pairs))
    return tensors | {name: torch.stack(values) for name, values in rows.items()}


def video_feature(tokens: torch.Tensor, plan: FramePlan) -> torch.Tensor:
    """ρ: patch tokens (n, P, D) of the planned frames → (D,) float64 of unit length."""
    return pool_frames(pool_patches(tokens[list(plan.video)])).double()


def transition_tokens(tokens: torch.Tensor, plan: FramePlan) -> torch.Tensor:
    """Patch tokens (n, P, D) of the planned frames → (M, 2, P, D)."""
    return tokens[torch.tensor(plan.transitions, dtype=torch.long).view(-1, 2)]


def mean_colour(frames: np.ndarray) -> np.ndarray:
    """(F, H, W, 3) → (192,): mean over frames, mean colour of each cell of an 8×8 grid, less their common mean."""
    image = frames.astype(np.float64).mean(0)
    columns = [np.array_split(row, COLOUR_GRID, axis=1) for row in np.array_split(image, COLOUR_GRID)]
    cells = np.stack([cell.mean((0, 1)) for row in columns for cell in row]).ravel()
    return cells - cells.mean()
