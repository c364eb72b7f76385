"""Video features of pairs: frozen, adapted, and the mean colours that need no network (paper A.4).

Patch mean within each frame, mean over evenly spaced frames, unit length: the ρ of training.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from harp.data.shards import ShardReader
from harp.data.version import Subject
from harp.losses.pooling import pool_frames, pool_patches
from harp.vision.encoder import HarpVisionEncoder

COLOUR_GRID = 8


@dataclass(frozen=True)
class PairFeatures:
    """Features of N pairs, each (N, D) float64."""

    human: np.ndarray
    """F(H)."""
    robot_frozen: np.ndarray
    """F(R)."""
    robot_adapted: np.ndarray
    """T_θ(R)."""
    human_colour: np.ndarray
    robot_colour: np.ndarray


@torch.no_grad()
def pair_features(
    encoder: HarpVisionEncoder,
    reader: ShardReader,
    pairs: Sequence[Subject],
    num_frames: int,
    precision: str,
) -> PairFeatures:
    """Encode all pairs at `num_frames` evenly spaced frames, the same ones on both sides."""
    rows: dict[str, list[np.ndarray]] = {field.name: [] for field in fields(PairFeatures)}
    for pair in pairs:
        frames = np.linspace(0, pair.num_frames - 1, num_frames).round().astype(int).tolist()
        human, robot = (_frames(reader, pair, side, frames) for side in ("human", "robot"))
        images = encoder.preprocess(torch.cat((human, robot, robot)))
        is_adapted = torch.arange(len(images)) >= 2 * num_frames
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            tokens = encoder.patch_tokens(images, is_adapted)
        videos = pool_frames(pool_patches(tokens).view(3, num_frames, -1)).double().numpy()
        for name, row in zip(("human", "robot_frozen", "robot_adapted"), videos, strict=True):
            rows[name].append(row)
        rows["human_colour"].append(mean_colour(human.numpy()))
        rows["robot_colour"].append(mean_colour(robot.numpy()))
    return PairFeatures(**{name: np.array(values) for name, values in rows.items()})


def mean_colour(frames: np.ndarray) -> np.ndarray:
    """(F, H, W, 3) → (192,): mean over frames, mean colour of each cell of an 8×8 grid, less their common mean."""
    image = frames.astype(np.float64).mean(0)
    columns = [np.array_split(row, COLOUR_GRID, axis=1) for row in np.array_split(image, COLOUR_GRID)]
    cells = np.stack([cell.mean((0, 1)) for row in columns for cell in row]).ravel()
    return cells - cells.mean()


def _frames(reader: ShardReader, pair: Subject, side: str, indices: Sequence[int]) -> torch.Tensor:
    places = (pair.locate(index) for index in indices)
    return torch.from_numpy(np.concatenate([reader.frames(segment, side, [i]) for segment, i in places]))
