"""Batches of stage 1: frames, frozen features, cues and instructions of both embodiments.

Convention: cue points are (x, y) as a share of frame width and height.
Shapes: N clips of one embodiment, of which the first B belong to pairs in the same order on both sides; K keypoints;
F frames of a pair that are pooled (2 of the transition + context).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np
import torch

from data_schemas.errors import UserError
from data_schemas.samples import FRAME_SIZE
from harp.data.sampling import ClipDraw
from harp.data.shards import ShardReader


@dataclass(frozen=True)
class CueTargets:
    """Cues of the two frames of each transition."""

    keypoints: torch.Tensor
    """(N, 2, K, 2) float32."""
    keypoint_mask: torch.Tensor
    """(N, 2, K) bool."""
    effector: torch.Tensor
    """(N, 2, 2) float32."""
    effector_mask: torch.Tensor
    """(N, 2) bool."""

    @staticmethod
    def cat(parts: Sequence["CueTargets"]) -> "CueTargets":
        """Join along the clips."""
        names = ("keypoints", "keypoint_mask", "effector", "effector_mask")
        return CueTargets(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def collate_cues(draws: Sequence[ClipDraw], side: str, reader: ShardReader, num_keypoints: int) -> CueTargets:
    """Cues of one side at each clip's transition; a clip with fewer keypoints is padded with masked ones.

    Args:
        num_keypoints: what the model predicts; 0 for a training without cues, which reads none.

    Raises:
        UserError: a clip has more keypoints than the model predicts.
    """
    N = len(draws)
    keypoints = np.zeros((N, 2, num_keypoints, 2), np.float32)
    keypoint_mask = np.zeros((N, 2, num_keypoints), bool)
    effector = np.zeros((N, 2, 2), np.float32)
    effector_mask = np.zeros((N, 2), bool)
    for n, draw in enumerate(draws if num_keypoints else ()):
        for i, frame in enumerate(draw.frames[:2]):
            segment, local = draw.subject.locate(frame)
            cues = reader.cues(segment, side)
            found = cues.object.shape[1]
            if found > num_keypoints:
                raise UserError(
                    f"Sample {segment.key} has {found} object keypoints, the recipe predicts {num_keypoints}; "
                    f"set latent_action.num_keypoints={found}."
                )
            objects = _seen(draw, side, cues.object[local], cues.object_visible[local])
            keypoints[n, i, :found], keypoint_mask[n, i, :found] = objects
            effector[n, i], effector_mask[n, i] = _seen(
                draw, side, cues.wrist[local], cues.wrist_visible[local]
            )
    arrays = (keypoints, keypoint_mask, effector, effector_mask)
    return CueTargets(*(torch.from_numpy(array) for array in arrays))


def collate_frames(draws: Sequence[ClipDraw], side: str, reader: ShardReader, part: slice) -> torch.Tensor:
    """Frames `draw.frames[part]` of one side of all clips, (number of frames in all, H, W, 3) uint8 RGB."""
    frames = [np.empty((0, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)]
    for draw in draws:
        for segment, group in groupby(map(draw.subject.locate, draw.frames[part]), key=itemgetter(0)):
            read = reader.frames(segment, side, [local for _, local in group])
            frames.append(draw.view.frames(read) if draw.view and side == "robot" else read)
    return torch.from_numpy(np.concatenate(frames))


def _seen(
    draw: ClipDraw, side: str, points: np.ndarray, visible: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    return draw.view.points(points, visible) if draw.view and side == "robot" else (points, visible)


@dataclass(frozen=True)
class Stage1Batch:
    """One batch; robot and human clips list their pairs first, in the same order."""

    step: int
    micro: int
    """Which of the micro-batches of the step."""
    num_pairs: int
    """Of this rank's share."""
    robot_ids: tuple[str, ...]
    human_ids: tuple[str, ...]
    robot_instructions: tuple[str, ...]
    human_instructions: tuple[str, ...]
    robot_frames: torch.Tensor
    """(2 N_r + B C, H, W, 3) uint8: transitions of all clips, then the C context frames of each pair."""
    human_frames: torch.Tensor | None
    """(2 N_h, H, W, 3) uint8 transitions, where `human_tokens` are not kept."""
    human_tokens: torch.Tensor | None
    """(N_h, 2, P, D) frozen patch tokens of the transitions."""
    human_context_frames: torch.Tensor | None
    """(B C, H, W, 3) uint8, for a training that asks for them, where their tokens are not kept."""
    human_context_tokens: torch.Tensor | None
    """(B, C, P, D) frozen patch tokens of the context frames, for a training that asks for them."""
    robot_frozen_pooled: torch.Tensor
    """(B, F, D) patch means of F(R)."""
    human_pooled: torch.Tensor
    """(B, F, D) patch means of F(H)."""
    robot_cues: CueTargets
    human_cues: CueTargets

    @property
    def ids(self) -> list[str]:
        """Subjects in the batch, for error messages."""
        return list(dict.fromkeys(self.robot_ids + self.human_ids))
